package eureka

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of an XML document, beside the limit of its bytes.
const (
	maxXMLDepth         = 16
	maxInstanceElements = 2*maxMapItems + 100
)

// partReader ends a document with an error where one part of it is too long: a decoder keeps all of it, and of each attribute more than
// it is long. Whoever takes the parts sets left.
type partReader struct {
	io.ByteReader
	left, most int
}

func (p *partReader) ReadByte() (byte, error) {
	if p.left--; p.left < 0 {
		return 0, fmt.Errorf("a tag or a text of more than %d bytes", p.most)
	}
	return p.ByteReader.ReadByte()
}

// Read is there because a decoder wants a Reader; it reads bytes alone.
func (p *partReader) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// element is a node of a parsed document. Attributes are read by name, names have no namespaces.
type element struct {
	name     string
	attrs    []xml.Attr
	text     string // character data of the element itself
	children []*element
}

func (e *element) child(name string) *element {
	if e == nil {
		return nil
	}
	for _, c := range e.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// value is the text of a child without the white space around it; absent is empty.
func (e *element) value(name string) string {
	c := e.child(name)
	if c == nil {
		return ""
	}
	return strings.TrimSpace(c.text)
}

// parseXML reads a document into elements. Entities other than the five of XML, and document type
// declarations, are refused: nothing is ever expanded or fetched. take, if there is one, gets each element at its end, with the
// one around it, and says whether the element may go: then it is not kept. No more than maxInstanceElements are kept. part bounds a
// tag with its attributes, and a text, in bytes.
func parseXML(in io.ByteReader, part int, take func(up, e *element) (bool, error)) (*element, error) {
	parts := &partReader{ByteReader: in, most: part}
	d := xml.NewDecoder(parts)
	var root *element
	var open []*element
	var text [][]byte // of the open elements
	var before []int  // elements that were kept when they began
	for count := 0; ; {
		parts.left = part
		tok, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			e := &element{name: fullName(t.Name), attrs: t.Attr}
			switch {
			case len(open) > 0:
				up := open[len(open)-1]
				up.children = append(up.children, e)
			case root != nil:
				return nil, errors.New("more than one root element")
			default:
				root = e
			}
			open = append(open, e)
			text, before = append(text, nil), append(before, count)
			if count++; count > maxInstanceElements || len(open) > maxXMLDepth {
				return nil, errors.New("too many elements, or nested too deep")
			}
		case xml.EndElement:
			name := fullName(t.Name)
			if len(open) == 0 || open[len(open)-1].name != name {
				return nil, fmt.Errorf("element </%s> was not open", name)
			}
			last := len(open) - 1
			e := open[last]
			e.text = string(text[last])
			kept := before[last]
			open, text, before = open[:last], text[:last], before[:last]
			if take == nil || last == 0 {
				continue
			}
			up := open[last-1]
			gone, err := take(up, e)
			if err != nil {
				return nil, err
			}
			if gone {
				up.children[len(up.children)-1] = nil
				up.children, count = up.children[:len(up.children)-1], kept
			}
		case xml.CharData:
			if n := len(text) - 1; n >= 0 {
				if text[n] = append(text[n], t...); len(text[n]) > part {
					return nil, fmt.Errorf("a text of more than %d bytes", part)
				}
			} else if len(bytes.TrimSpace(t)) > 0 {
				return nil, errors.New("text outside the root element")
			}
		case xml.Directive:
			return nil, errors.New("document type declarations are not accepted")
		}
	}
	if root == nil || len(open) > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return root, nil
}

func fullName(n xml.Name) string {
	if n.Space != "" {
		return n.Space + ":" + n.Local
	}
	return n.Local
}

// xmlReader reads elements and keeps the first error.
type xmlReader struct{ err error }

// parseXMLInstance reads <instance>.
func parseXMLInstance(data []byte) (*Instance, error) {
	root, err := parseXML(bytes.NewReader(trimMark(data)), maxReadValue, nil)
	if err != nil {
		return nil, err
	}
	if root.name != "instance" {
		return nil, fmt.Errorf("root element is <%s>, not <instance>", root.name)
	}
	var r xmlReader
	i := r.instance(root)
	return i, r.err
}

func (r *xmlReader) instance(e *element) *Instance {
	i := &Instance{
		ID:               e.value("instanceId"),
		App:              strings.ToUpper(e.value("app")),
		HostName:         e.value("hostName"),
		IPAddr:           e.value("ipAddr"),
		VIPAddress:       e.value("vipAddress"),
		SecureVIPAddress: e.value("secureVipAddress"),
		Status:           Up,
		Overridden:       Unknown,
		Port:             r.port(e, "port", Port{Number: defaultPort, Enabled: true}),
		SecurePort:       r.port(e, "securePort", Port{Number: defaultSecurePort}),
		Metadata:         r.metadata(e.child("metadata")),
		LastUpdated:      r.number(e, "lastUpdatedTimestamp"),
		LastDirty:        r.number(e, "lastDirtyTimestamp"),
		Action:           parseAction(e.value("actionType")),
		URLs: URLs{
			HomePageURL:          e.value("homePageUrl"),
			StatusPageURL:        e.value("statusPageUrl"),
			HealthCheckURL:       e.value("healthCheckUrl"),
			SecureHealthCheckURL: e.value("secureHealthCheckUrl"),
		},
		Labels: Labels{
			SID:       e.value("sid"),
			AppGroup:  e.value("appGroupName"),
			ASG:       e.value("asgName"),
			CountryID: int(r.number(e, "countryId")),
		},
	}
	i.Coordinating = r.flag("isCoordinatingDiscoveryServer", e.value("isCoordinatingDiscoveryServer"), false)
	if e.child("status") != nil {
		i.Status = ParseStatus(e.value("status"))
	}
	for _, name := range []string{"overriddenstatus", "overriddenStatus"} {
		if e.child(name) != nil {
			i.Overridden = ParseStatus(e.value(name))
			break
		}
	}
	if dc := e.child("dataCenterInfo"); dc != nil {
		i.DataCenter.Name = dc.value("name")
		if m := r.metadata(dc.child("metadata")); len(m) > 0 {
			i.DataCenter.Metadata = m
		}
		i.hasDataCenter = true
	}
	if l := e.child("leaseInfo"); l != nil {
		i.Lease = Lease{
			RenewalInterval: int(r.number(l, "renewalIntervalInSecs")),
			Duration:        int(r.number(l, "durationInSecs")),
			Registered:      r.number(l, "registrationTimestamp"),
			LastRenewal:     r.number(l, "lastRenewalTimestamp", "renewalTimestamp"),
			Evicted:         r.number(l, "evictionTimestamp"),
			ServiceUp:       r.number(l, "serviceUpTimestamp"),
		}
	}
	return i
}

func (r *xmlReader) fail(name, what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s %s", name, what)
	}
}

// number is the first of names that has a text; absent or empty is 0.
func (r *xmlReader) number(e *element, names ...string) int64 {
	for _, name := range names {
		text := e.value(name)
		if text == "" {
			continue
		}
		n, err := parseNumber(text)
		if err != nil {
			r.fail(name, "is not a number")
		}
		return n
	}
	return 0
}

func (r *xmlReader) flag(name, text string, absent bool) bool {
	v, err := parseFlag(strings.TrimSpace(text), absent)
	if err != nil {
		r.fail(name, "is neither true nor false")
	}
	return v
}

// port reads <port enabled="true">8080</port>.
func (r *xmlReader) port(e *element, name string, absent Port) Port {
	c := e.child(name)
	if c == nil {
		return absent
	}
	p := absent
	for _, a := range c.attrs {
		if a.Name.Local == "enabled" {
			p.Enabled = r.flag(name+" enabled", a.Value, absent.Enabled)
		}
	}
	n, err := parsePort(strings.TrimSpace(c.text), absent.Number)
	if err != nil {
		r.fail(name, err.Error())
	}
	p.Number = n
	return p
}

// metadata reads the flat map: one element per key. Values keep their white space.
func (r *xmlReader) metadata(e *element) map[string]string {
	out := map[string]string{}
	if e == nil {
		return out
	}
	for _, c := range e.children {
		if len(c.children) > 0 {
			r.fail("metadata "+unescapeName(c.name), "has elements inside")
		}
		out[unescapeName(c.name)] = c.text
	}
	return out
}
