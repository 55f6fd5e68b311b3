package eureka

import (
	"maps"
	"slices"
	"strconv"
)

// appendXMLApplications appends <applications>…
func appendXMLApplications(b []byte, a *Applications, compact bool) []byte {
	b = append(b, `<applications>`...)
	b = appendXMLText(b, "versions__delta", a.Version)
	b = appendXMLText(b, "apps__hashcode", a.Hash)
	for n := range a.Apps {
		b = appendXMLApplication(b, &a.Apps[n], compact)
	}
	return append(b, `</applications>`...)
}

// appendXMLApplication appends <application>…
func appendXMLApplication(b []byte, a *Application, compact bool) []byte {
	b = append(b, `<application>`...)
	b = appendXMLText(b, "name", a.Name)
	for _, i := range a.Instances {
		b = appendXMLInstance(b, i, compact)
	}
	return append(b, `</application>`...)
}

// appendXMLInstance appends <instance>…
func appendXMLInstance(b []byte, i *Instance, compact bool) []byte {
	b = append(b, `<instance>`...)
	b = appendXMLText(b, "instanceId", i.ID)
	b = appendXMLOptional(b, "hostName", i.HostName)
	b = appendXMLOptional(b, "app", i.App)
	b = appendXMLOptional(b, "ipAddr", i.IPAddr)
	b = appendXMLOptional(b, "status", string(i.Status))
	if !compact {
		b = appendXMLOptional(b, "overriddenstatus", string(i.Overridden))
	}
	b = appendXMLPort(b, "port", i.Port)
	b = appendXMLPort(b, "securePort", i.SecurePort)
	if !compact {
		b = appendXMLInt(b, "countryId", int64(i.CountryID))
	}
	b = append(b, `<dataCenterInfo class="`...)
	b = append(b, i.DataCenter.class()...)
	b = append(b, `">`...)
	b = appendXMLOptional(b, "name", i.DataCenter.Name)
	if len(i.DataCenter.Metadata) > 0 && !compact {
		b = appendXMLMap(b, i.DataCenter.Metadata)
	}
	b = append(b, `</dataCenterInfo>`...)
	if !compact {
		b = append(b, `<leaseInfo>`...)
		b = appendXMLInt(b, "renewalIntervalInSecs", int64(i.Lease.RenewalInterval))
		b = appendXMLInt(b, "durationInSecs", int64(i.Lease.Duration))
		b = appendXMLInt(b, "registrationTimestamp", i.Lease.Registered)
		b = appendXMLInt(b, "lastRenewalTimestamp", i.Lease.LastRenewal)
		b = appendXMLInt(b, "evictionTimestamp", i.Lease.Evicted)
		b = appendXMLInt(b, "serviceUpTimestamp", i.Lease.ServiceUp)
		b = append(b, `</leaseInfo>`...)
		b = appendXMLMap(b, i.Metadata)
		b = appendXMLOptional(b, "homePageUrl", i.HomePageURL)
		b = appendXMLOptional(b, "statusPageUrl", i.StatusPageURL)
		b = appendXMLOptional(b, "healthCheckUrl", i.HealthCheckURL)
		b = appendXMLOptional(b, "secureHealthCheckUrl", i.SecureHealthCheckURL)
		b = appendXMLOptional(b, "sid", i.SID)
		b = appendXMLOptional(b, "appGroupName", i.AppGroup)
		b = appendXMLOptional(b, "asgName", i.ASG)
	}
	b = appendXMLOptional(b, "vipAddress", i.VIPAddress)
	b = appendXMLOptional(b, "secureVipAddress", i.SecureVIPAddress)
	if !compact {
		b = appendXMLText(b, "isCoordinatingDiscoveryServer", strconv.FormatBool(i.Coordinating))
	}
	b = appendXMLInt(b, "lastUpdatedTimestamp", i.LastUpdated)
	if !compact {
		b = appendXMLInt(b, "lastDirtyTimestamp", i.LastDirty)
	}
	b = appendXMLOptional(b, "actionType", string(i.Action))
	return append(b, `</instance>`...)
}

func appendXMLOptional(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendXMLText(b, name, value)
}

func appendXMLText(b []byte, name, value string) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, '>')
	b = appendXMLString(b, value)
	b = append(b, '<', '/')
	b = append(b, name...)
	return append(b, '>')
}

func appendXMLInt(b []byte, name string, value int64) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, '>')
	b = strconv.AppendInt(b, value, 10)
	b = append(b, '<', '/')
	b = append(b, name...)
	return append(b, '>')
}

func appendXMLPort(b []byte, name string, p Port) []byte {
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, ` enabled="`...)
	b = strconv.AppendBool(b, p.Enabled)
	b = append(b, `">`...)
	b = strconv.AppendInt(b, int64(p.Number), 10)
	b = append(b, '<', '/')
	b = append(b, name...)
	return append(b, '>')
}

// appendXMLMap appends <metadata>; an empty one carries the class that the Java clients look for.
func appendXMLMap(b []byte, m map[string]string) []byte {
	if len(m) == 0 {
		b = append(b, `<metadata class="`...)
		b = append(b, emptyMapClass...)
		return append(b, `"/>`...)
	}
	b = append(b, `<metadata>`...)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendXMLText(b, escapeName(k), m[k])
	}
	return append(b, `</metadata>`...)
}

// appendXMLString appends character data. Characters that XML cannot carry never get here: check refuses them.
func appendXMLString(b []byte, s string) []byte {
	start := 0
	for i := range len(s) {
		var esc string
		switch s[i] {
		case '&':
			esc = "&amp;"
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '"':
			esc = "&quot;"
		case '\r': // a bare one would be read as a line feed: XML 1.0, section 2.11
			esc = "&#13;"
		default:
			continue
		}
		b = append(b, s[start:i]...)
		b = append(b, esc...)
		start = i + 1
	}
	return append(b, s[start:]...)
}
