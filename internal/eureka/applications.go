package eureka

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds of a whole registry that is read, beside the limit of its bytes.
const (
	maxReadInstances = 100000
	maxReadItems     = 2000000 // metadata of all instances together
	maxReadValue     = 2 << 20 // bytes of one value: a text, or the metadata of an instance
	maxReadMembers   = 1000    // of one instance in JSON
	readAhead        = 64 << 10
)

// valueReader ends a JSON document with an error where one value, or the space before it, is longer than most, in bytes: its decoder
// keeps all of a value, however little it was when compressed.
type valueReader struct {
	in         io.Reader
	decoder    *json.Decoder // that reads from here
	read, most int64
}

func newValueReader(in io.Reader, most int64) *json.Decoder {
	v := &valueReader{in: in, most: most}
	v.decoder = json.NewDecoder(v)
	return v.decoder
}

func (v *valueReader) Read(p []byte) (int, error) {
	if v.read-v.decoder.InputOffset() > v.most {
		return 0, fmt.Errorf("byte %d: a value of more than %d bytes", v.decoder.InputOffset(), v.most)
	}
	n, err := v.in.Read(p[:min(len(p), readAhead)])
	v.read += int64(n)
	return n, err
}

// readApplications reads a whole registry, or a delta: JSON or XML, as it looks. The document is read as a stream, one
// instance at a time. An instance that is malformed is kept as far as it could be read, with its problem: it still counts
// in the hash. An error is about the document.
func readApplications(in io.Reader) (*Applications, error) {
	buffered := bufio.NewReader(in)
	for {
		c, _, err := buffered.ReadRune()
		switch {
		case err != nil:
			return nil, fmt.Errorf("document: %w", errors.Join(io.ErrUnexpectedEOF, notEOF(err)))
		case c == '\ufeff' || c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		}
		_ = buffered.UnreadRune() // it was just read
		r := &applicationsReader{out: &Applications{}}
		if c == '<' {
			return r.out, r.readXML(buffered)
		}
		return r.out, r.readJSON(buffered)
	}
}

// notEOF is err, unless it only says that there is no more.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// applicationsReader collects what it reads, and counts it.
type applicationsReader struct {
	out              *Applications
	instances, items int
}

// add takes an instance as far as it could be read.
func (r *applicationsReader) add(to []*Instance, i *Instance, problem error) ([]*Instance, error) {
	if i.ID == "" {
		i.ID = i.HostName
	}
	i.problem = problem
	r.instances++
	r.items += len(i.Metadata) + len(i.DataCenter.Metadata)
	if r.instances > maxReadInstances || r.items > maxReadItems {
		return nil, fmt.Errorf("more than %d instances or %d entries of metadata", maxReadInstances, maxReadItems)
	}
	return append(to, i), nil
}

// finish ends an application. Its instances may leave the name to it. One without instances is none.
func (r *applicationsReader) finish(name string, instances []*Instance) {
	if len(instances) == 0 {
		return
	}
	app := Application{Name: strings.ToUpper(strings.TrimSpace(name)), Instances: instances}
	for _, i := range instances {
		if i.App == "" {
			i.App = app.Name
		}
	}
	r.out.Apps = append(r.out.Apps, app)
}

// readJSON reads {"applications":…}; {"application":…} too.
func (r *applicationsReader) readJSON(in io.Reader) error {
	d := newValueReader(in, maxReadValue)
	err := members(d, false, func(key string) error {
		if key != "applications" {
			return r.member(d, key)
		}
		return members(d, false, func(key string) error { return r.member(d, key) })
	})
	if err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text behind the document")
	}
	return nil
}

func (r *applicationsReader) member(d *json.Decoder, key string) error {
	switch key {
	case "application":
		return elements(d, func(open bool) error { return r.application(d, open) })
	case "versions__delta", "apps__hashcode":
		o, err := one(d, key)
		if key == "apps__hashcode" {
			r.out.Hash = o
		} else {
			r.out.Version = o
		}
		return err
	}
	return skip(d)
}

func (r *applicationsReader) application(d *json.Decoder, open bool) error {
	var name string
	var instances []*Instance
	err := members(d, open, func(key string) (err error) {
		switch key {
		case "name":
			name, err = one(d, key)
			return err
		case "instance":
			return elements(d, func(open bool) error {
				fields := object{}
				err := members(d, open, func(key string) error {
					var raw json.RawMessage
					err := d.Decode(&raw)
					if fields[key] = raw; len(fields) > maxReadMembers {
						return fmt.Errorf("an instance of more than %d members", maxReadMembers)
					}
					return err
				})
				if err != nil {
					return err
				}
				var f jsonReader
				i := f.instance(fields)
				instances, err = r.add(instances, i, f.err)
				return err
			})
		}
		return skip(d)
	})
	r.finish(name, instances)
	return err
}

// one reads the text of a member.
func one(d *json.Decoder, key string) (string, error) {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return "", err
	}
	var r jsonReader
	text := r.text(object{key: raw}, key)
	return text, r.err
}

func skip(d *json.Decoder) error {
	var raw json.RawMessage
	return d.Decode(&raw)
}

// members calls f for each member of the object that comes next; f reads its value. open says that the brace was read.
// Null has no members.
func members(d *json.Decoder, open bool, f func(key string) error) error {
	if !open {
		t, err := d.Token()
		switch {
		case err != nil:
			return err
		case t == nil:
			return nil
		case t != json.Delim('{'):
			return fmt.Errorf("byte %d: want an object", d.InputOffset())
		}
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string) // the decoder refuses all other keys
		if err := f(key); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// elements calls f for each element of the list that comes next; f reads it. A single object stands for a list of
// itself: then its brace was read, which open says.
func elements(d *json.Decoder, f func(open bool) error) error {
	t, err := d.Token()
	switch {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t == json.Delim('{'):
		return f(true)
	case t != json.Delim('['):
		return fmt.Errorf("byte %d: want an array or an object", d.InputOffset())
	}
	for d.More() {
		if err := f(false); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// readXML reads <applications>, or one <application>.
func (r *applicationsReader) readXML(in io.ByteReader) error {
	var instances []*Instance
	root, err := parseXML(in, maxReadValue, func(up, e *element) (bool, error) {
		switch {
		case up.name == "application" && e.name == "instance":
			var f xmlReader
			i := f.instance(e)
			var err error
			instances, err = r.add(instances, i, f.err)
			return true, err
		case up.name == "applications" && e.name == "application":
			r.finish(e.value("name"), instances)
			instances = nil
			return true, nil
		}
		return false, nil
	})
	switch {
	case err != nil:
		return err
	case root.name == "application":
		r.finish(root.value("name"), instances)
	case root.name != "applications":
		return fmt.Errorf("root element is <%s>, not <applications>", root.name)
	}
	r.out.Version, r.out.Hash = root.value("versions__delta"), root.value("apps__hashcode")
	return nil
}
