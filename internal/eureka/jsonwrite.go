package eureka

import (
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Class names that the Java clients look for. They are written, never read.
const (
	emptyMapClass     = "java.util.Collections$EmptyMap"
	dataCenterClass   = "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo"
	amazonCenterClass = "com.netflix.appinfo.AmazonInfo"
)

// class is the Java class that stands for the data center.
func (d DataCenter) class() string {
	if d.Name == dataCenterAmazon {
		return amazonCenterClass
	}
	return dataCenterClass
}

// appendJSONApplications appends {"applications":…}.
func appendJSONApplications(b []byte, a *Applications, compact bool) []byte {
	b = append(b, `{"applications":{"versions__delta":`...)
	b = appendJSONString(b, a.Version)
	b = append(b, `,"apps__hashcode":`...)
	b = appendJSONString(b, a.Hash)
	b = append(b, `,"application":[`...)
	for n := range a.Apps {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendJSONApp(b, &a.Apps[n], compact)
	}
	return append(b, `]}}`...)
}

// appendJSONApplication appends {"application":…}.
func appendJSONApplication(b []byte, a *Application, compact bool) []byte {
	b = append(b, `{"application":`...)
	b = appendJSONApp(b, a, compact)
	return append(b, '}')
}

func appendJSONApp(b []byte, a *Application, compact bool) []byte {
	b = append(b, `{"name":`...)
	b = appendJSONString(b, a.Name)
	b = append(b, `,"instance":[`...)
	for n, i := range a.Instances {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendJSONFields(b, i, compact)
	}
	return append(b, `]}`...)
}

// appendJSONInstance appends {"instance":…}.
func appendJSONInstance(b []byte, i *Instance) []byte {
	b = append(b, `{"instance":`...)
	b = appendJSONFields(b, i, false)
	return append(b, '}')
}

func appendJSONFields(b []byte, i *Instance, compact bool) []byte {
	b = append(b, `{"instanceId":`...)
	b = appendJSONString(b, i.ID)
	b = appendJSONText(b, "hostName", i.HostName)
	b = appendJSONText(b, "app", i.App)
	b = appendJSONText(b, "ipAddr", i.IPAddr)
	b = appendJSONText(b, "status", string(i.Status))
	if !compact {
		b = appendJSONText(b, "overriddenStatus", string(i.Overridden))
	}
	b = appendJSONPort(b, "port", i.Port)
	b = appendJSONPort(b, "securePort", i.SecurePort)
	if !compact {
		b = appendJSONInt(b, "countryId", int64(i.CountryID))
	}
	b = append(b, `,"dataCenterInfo":{"@class":`...)
	b = appendJSONString(b, i.DataCenter.class())
	b = appendJSONText(b, "name", i.DataCenter.Name)
	if len(i.DataCenter.Metadata) > 0 && !compact {
		b = append(b, `,"metadata":`...)
		b = appendJSONMap(b, i.DataCenter.Metadata)
	}
	b = append(b, '}')
	if !compact {
		b = append(b, `,"leaseInfo":{"renewalIntervalInSecs":`...)
		b = strconv.AppendInt(b, int64(i.Lease.RenewalInterval), 10)
		b = appendJSONInt(b, "durationInSecs", int64(i.Lease.Duration))
		b = appendJSONInt(b, "registrationTimestamp", i.Lease.Registered)
		b = appendJSONInt(b, "lastRenewalTimestamp", i.Lease.LastRenewal)
		b = appendJSONInt(b, "evictionTimestamp", i.Lease.Evicted)
		b = appendJSONInt(b, "serviceUpTimestamp", i.Lease.ServiceUp)
		b = append(b, `},"metadata":`...)
		b = appendJSONMap(b, i.Metadata)
		b = appendJSONText(b, "homePageUrl", i.HomePageURL)
		b = appendJSONText(b, "statusPageUrl", i.StatusPageURL)
		b = appendJSONText(b, "healthCheckUrl", i.HealthCheckURL)
		b = appendJSONText(b, "secureHealthCheckUrl", i.SecureHealthCheckURL)
		b = appendJSONText(b, "sid", i.SID)
		b = appendJSONText(b, "appGroupName", i.AppGroup)
		b = appendJSONText(b, "asgName", i.ASG)
	}
	b = appendJSONText(b, "vipAddress", i.VIPAddress)
	b = appendJSONText(b, "secureVipAddress", i.SecureVIPAddress)
	if !compact {
		b = appendJSONText(b, "isCoordinatingDiscoveryServer", strconv.FormatBool(i.Coordinating))
	}
	b = append(b, `,"lastUpdatedTimestamp":"`...)
	b = strconv.AppendInt(b, i.LastUpdated, 10)
	b = append(b, '"')
	if !compact {
		b = append(b, `,"lastDirtyTimestamp":"`...)
		b = strconv.AppendInt(b, i.LastDirty, 10)
		b = append(b, '"')
	}
	b = appendJSONText(b, "actionType", string(i.Action))
	return append(b, '}')
}

// appendJSONText appends one more member, unless value is empty: absent and empty mean the same here.
func appendJSONText(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendJSONString(b, value)
}

func appendJSONInt(b []byte, name string, value int64) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendInt(b, value, 10)
}

func appendJSONPort(b []byte, name string, p Port) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":{"$":`...)
	b = strconv.AppendInt(b, int64(p.Number), 10)
	b = append(b, `,"@enabled":"`...)
	b = strconv.AppendBool(b, p.Enabled)
	return append(b, `"}`...)
}

func appendJSONMap(b []byte, m map[string]string) []byte {
	if len(m) == 0 {
		b = append(b, `{"@class":"`...)
		b = append(b, emptyMapClass...)
		return append(b, `"}`...)
	}
	b = append(b, '{')
	for n, k := range slices.Sorted(maps.Keys(m)) {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, k)
		b = append(b, ':')
		b = appendJSONString(b, m[k])
	}
	return append(b, '}')
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as RFC 8259, section 7, wants it; what is not UTF-8 becomes U+FFFD.
func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, s[start:i]...)
				b = append(b, "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
