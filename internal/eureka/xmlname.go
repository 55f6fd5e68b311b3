package eureka

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Metadata keys are element names in XML. XStream, which the Java side uses, writes "_" as "__", "$" as "_-",
// and a character that may not stand in a name as "_." and four hex digits of its UTF-16 unit.

// escapeName is the element name of a metadata key that is not empty.
func escapeName(key string) string {
	plain := true
	for n := range len(key) {
		if c := key[n]; !nameByte(c) || n == 0 && !letter(c) {
			plain = false
			break
		}
	}
	if plain {
		return key
	}
	var b strings.Builder
	for n, r := range key {
		switch {
		case r == '_':
			b.WriteString("__")
		case r == '$':
			b.WriteString("_-")
		case r < utf8.RuneSelf && nameByte(byte(r)) && (n > 0 || letter(byte(r))):
			b.WriteByte(byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			writeUnit(&b, hi)
			writeUnit(&b, lo)
		default:
			writeUnit(&b, r)
		}
	}
	return b.String()
}

func writeUnit(b *strings.Builder, r rune) {
	b.WriteString("_.")
	for shift := 12; shift >= 0; shift -= 4 {
		b.WriteByte(hexDigits[r>>shift&15])
	}
}

// unescapeName is the metadata key of an element name. A "_" that begins no escape stands for itself:
// people write such names by hand.
func unescapeName(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	var b strings.Builder
	for n := 0; n < len(name); n++ {
		if name[n] != '_' || n+1 == len(name) {
			b.WriteByte(name[n])
			continue
		}
		switch name[n+1] {
		case '_':
			b.WriteByte('_')
			n++
		case '-':
			b.WriteByte('$')
			n++
		case '.':
			r, ok := hexUnit(name[n:])
			if !ok {
				b.WriteByte('_')
				continue
			}
			n += 5
			if low, ok := hexUnit(name[n+1:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
				r = utf16.DecodeRune(r, low)
				n += 6
			}
			b.WriteRune(r) // half a pair becomes U+FFFD
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

// hexUnit reads "_." and four hex digits at the beginning of s.
func hexUnit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '_' || s[1] != '.' {
		return 0, false
	}
	u, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(u), err == nil
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// nameByte says which bytes stand for themselves; ":" does not: readers that know namespaces would look for one.
func nameByte(c byte) bool {
	return letter(c) || '0' <= c && c <= '9' || c == '-' || c == '.'
}
