package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
)

// Bounds on keys.
const (
	maxKeySet  = 1 << 20 // bytes of a set as it is written
	maxKeys    = 128     // of one set
	maxTries   = 8       // keys of one set with which a signature is checked, where no kid says which
	minRSABits = 2048    // RFC 7518, section 3.3
	maxRSABits = 8192    // a larger one costs more than it is worth to a stranger's request
)

// A verifyKey is a key for signatures: public, or a shared secret.
type verifyKey struct {
	id  string // kid; "" goes with any
	alg string // the only one it is for; ""  all of its kind
	key any    // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, []byte
}

// A keySet is the keys of one source at one time. It is immutable.
type keySet struct {
	keys []verifyKey
}

// fits tells whether the key may be asked about a signature of that algorithm: a key of one kind is never used for another's.
func (k *verifyKey) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}[key.Curve]
	case ed25519.PublicKey:
		return alg == "EdDSA"
	case []byte:
		return strings.HasPrefix(alg, "HS")
	}
	return false
}

// find returns the keys for a signature of that kid and algorithm.
func (s *keySet) find(kid, alg string) (found []*verifyKey) {
	for i := range s.keys {
		k := &s.keys[i]
		if len(found) < maxTries && (kid == "" || k.id == "" || k.id == kid) && k.fits(alg) {
			found = append(found, k)
		}
	}
	return found
}

// suits tells what is wrong if no key goes with any of the algorithms.
func (s *keySet) suits(algorithms []string) error {
	if len(algorithms) == 0 { // none of them is any: that is said already
		return nil
	}
	for i := range s.keys {
		if slices.ContainsFunc(algorithms, s.keys[i].fits) {
			return nil
		}
	}
	return fmt.Errorf("no key in it is for %s", strings.Join(algorithms, ", "))
}

// fixedKeys are those that the configuration itself holds or names a file of.
func (c *IssuerConfig) fixedKeys() (*keySet, error) {
	switch {
	case c.shares():
		secret, err := c.secret()
		if err != nil {
			return nil, err
		}
		return &keySet{[]verifyKey{{key: secret}}}, nil
	case c.JWKSFile != "":
		text, err := readBounded(c.JWKSFile, maxKeySet)
		if err != nil {
			return nil, err
		}
		keys, err := parseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("%s%w", c.JWKSFile, at(text, err))
		}
		return keys, nil
	}
	all := &keySet{}
	for _, text := range c.Keys {
		keys, err := parsePEM([]byte(text))
		if err != nil {
			return nil, err
		}
		all.keys = append(all.keys, keys.keys...)
	}
	return all, nil
}

func (c *IssuerConfig) secret() ([]byte, error) {
	secret := []byte(c.Secret)
	if c.SecretFile != "" {
		var err error
		if secret, err = readBounded(c.SecretFile, maxToken); err != nil {
			return nil, err
		}
		secret = bytes.TrimRight(secret, "\r\n")
	}
	if len(secret) < minSecret {
		return nil, fmt.Errorf("%d bytes: want %d or more", len(secret), minSecret)
	}
	return secret, nil
}

func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: at most %d bytes are read", path, most)
	}
	return text, err
}

// at puts line and column before an error of JSON's.
func at(text []byte, err error) error {
	bad, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return fmt.Errorf(": %w", err)
	}
	before := text[:min(max(bad.Offset-1, 0), int64(len(text)))]
	return fmt.Errorf(":%d:%d: %w", bytes.Count(before, []byte("\n"))+1, len(before)-bytes.LastIndexByte(before, '\n'), err)
}

// parseKeys reads a JWK set (RFC 7517), or public keys in PEM. Keys that are not for signatures, or that this gateway cannot use, are
// passed over; a set in which none is left is an error.
func parseKeys(text []byte) (*keySet, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return parsePEM(text)
	}
	var list struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	if len(list.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, at most %d are read", len(list.Keys), maxKeys)
	}
	set := &keySet{}
	var first error
	for i, raw := range list.Keys {
		k, err := parseJWK(raw)
		if err == nil {
			set.keys = append(set.keys, *k)
		} else if first == nil {
			first = fmt.Errorf("keys[%d]: %w", i, err)
		}
	}
	switch {
	case len(set.keys) > 0:
		return set, nil
	case first != nil:
		return nil, first
	}
	return nil, errors.New("no key in it")
}

func parseJWK(raw []byte) (*verifyKey, error) {
	var about struct {
		Use     string   `json:"use"`
		KeyOps  []string `json:"key_ops"`
		KeyType string   `json:"kty"`
	}
	if err := json.Unmarshal(raw, &about); err != nil {
		return nil, err
	}
	switch {
	case about.Use != "" && about.Use != "sig":
		return nil, fmt.Errorf("use %q: it is not for signatures", about.Use)
	case len(about.KeyOps) > 0 && !slices.Contains(about.KeyOps, "verify"):
		return nil, errors.New("key_ops: it is not for the verification of signatures")
	case about.KeyType == "oct": // whoever publishes a secret has none
		return nil, errors.New("kty oct: a shared secret is configured as secret or secretFile")
	}
	var j jose.JSONWebKey
	if err := j.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	if !j.IsPublic() {
		return nil, errors.New("it is a private key: publish its public part alone")
	}
	return usable(&verifyKey{id: j.KeyID, alg: j.Algorithm, key: j.Key})
}

// parsePEM reads public keys, and those of certificates, in PEM.
func parsePEM(text []byte) (*keySet, error) {
	set := &keySet{}
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		var key any
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
				key = cert.PublicKey
			}
		default:
			err = fmt.Errorf("PEM block %q: want PUBLIC KEY or CERTIFICATE", block.Type)
		}
		if err != nil {
			return nil, err
		}
		k, err := usable(&verifyKey{key: key})
		if err != nil {
			return nil, err
		}
		if set.keys = append(set.keys, *k); len(set.keys) > maxKeys {
			return nil, fmt.Errorf("more than %d keys", maxKeys)
		}
	}
	if len(set.keys) == 0 {
		return nil, errors.New("neither a JWK set nor a public key in PEM")
	}
	return set, nil
}

// usable judges a key by its kind and size.
func usable(k *verifyKey) (*verifyKey, error) {
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("RSA key of %d bits: want %d to %d", n, minRSABits, maxRSABits)
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return nil, errors.New("curve: want P-256, P-384 or P-521")
		}
	case ed25519.PublicKey:
	default:
		return nil, fmt.Errorf("key of kind %T: want RSA, EC or Ed25519", k.key)
	}
	return k, nil
}
