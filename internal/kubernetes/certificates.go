package kubernetes

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Cache keeps what was parsed for one translation for the next: key pairs and bundles of CA certificates, by their content. The
// same content gives the same *tls.Certificate. It forgets what the last translation did not ask for. The zero value is ready.
type Cache struct {
	mu    sync.Mutex // guards the following
	turn  uint64
	pairs map[[sha256.Size]byte]*cached[*tls.Certificate]
	pools map[[sha256.Size]byte]*cached[*x509.CertPool]
}

type cached[T any] struct {
	value T
	err   error
	turn  uint64 // that asked for it last
}

// begin starts a translation's turn, and forgets what was not asked for since the last begin.
func (c *Cache) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	forget(c.pairs, c.turn)
	forget(c.pools, c.turn)
	c.turn++
}

func forget[T any](m map[[sha256.Size]byte]*cached[T], turn uint64) {
	for k, v := range m {
		if v.turn < turn {
			delete(m, k)
		}
	}
}

// keyPair parses a certificate chain and its key, both PEM, and checks that they belong together.
func (c *Cache) keyPair(chain, key []byte) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s%s", len(chain), chain, key))
	has := c.pairs[sum]
	if has == nil {
		has = new(cached[*tls.Certificate])
		if pair, err := tls.X509KeyPair(chain, key); err != nil {
			has.err = err
		} else {
			has.value = &pair
		}
		if c.pairs == nil {
			c.pairs = make(map[[sha256.Size]byte]*cached[*tls.Certificate])
		}
		c.pairs[sum] = has
	}
	has.turn = c.turn
	return has.value, has.err
}

// pool parses a bundle of CA certificates, PEM, one at least.
func (c *Cache) pool(bundle []byte) (*x509.CertPool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := sha256.Sum256(bundle)
	has := c.pools[sum]
	if has == nil {
		has = new(cached[*x509.CertPool])
		has.value, has.err = parsePool(bundle)
		if c.pools == nil {
			c.pools = make(map[[sha256.Size]byte]*cached[*x509.CertPool])
		}
		c.pools[sum] = has
	}
	has.turn = c.turn
	return has.value, has.err
}

func parsePool(bundle []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %s, and only CERTIFICATE belongs there", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n+1, err)
		}
		pool.AddCert(certificate)
		n++
	}
	if n == 0 {
		return nil, errors.New("it holds no certificate in PEM")
	}
	return pool, nil
}

// keyPair resolves the reference of a kind in a namespace to a Secret with a certificate. Where the reference may not be made, the
// reason is RefNotPermitted; for all else that is wrong, invalid.
func (t *translation) keyPair(fromKind, fromNamespace string, ref *gatewayv1.SecretObjectReference, invalid string,
) (*tls.Certificate, *refusal) {
	group, kind := stringOr(ref.Group, ""), stringOr(ref.Kind, "Secret")
	if group != "" || kind != "Secret" {
		return nil, refuse(invalid, kindOf(group, kind)+" is no kind that holds a certificate: name a Secret")
	}
	name := types.NamespacedName{Namespace: stringOr(ref.Namespace, fromNamespace), Name: string(ref.Name)}
	if !t.granted(gatewayv1.GroupName, fromKind, fromNamespace, "", "Secret", name.Namespace, name.Name) {
		return nil, notPermitted(fromKind, fromNamespace, "Secret", name)
	}
	secret := t.secret(name)
	if secret == nil {
		return nil, refusef(invalid, "there is no Secret %s", name)
	}
	for _, key := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if len(secret.Data[key]) == 0 {
			return nil, refusef(invalid, "Secret %s has no %s", name, key)
		}
	}
	pair, err := t.Cache.keyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, refusef(invalid, "Secret %s: %v", name, err)
	}
	return pair, nil
}

// notPermitted is the refusal of a reference that no ReferenceGrant allows.
func notPermitted(fromKind, fromNamespace, kind string, name types.NamespacedName) *refusal {
	return refusef(gatewayv1.ListenerReasonRefNotPermitted,
		"no ReferenceGrant in namespace %s lets a %s of namespace %s refer to %s %s", name.Namespace, fromKind, fromNamespace, kind, name.Name)
}
