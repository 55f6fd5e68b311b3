package kubernetes

import gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

// grant is one combination of what a ReferenceGrant lets refer and what to.
type grant struct {
	fromGroup, fromKind, fromNamespace string
	toGroup, toKind, toNamespace       string
	toName                             string // "": every name
}

// grantsOf is every combination that grants list: at most 256 for each of them, as the schema bounds it.
func grantsOf(grants []*gatewayv1.ReferenceGrant) map[grant]bool {
	m := make(map[grant]bool, len(grants))
	for _, g := range grants {
		for _, from := range g.Spec.From {
			for _, to := range g.Spec.To {
				k := grant{
					fromGroup: string(from.Group), fromKind: string(from.Kind), fromNamespace: string(from.Namespace),
					toGroup: string(to.Group), toKind: string(to.Kind), toNamespace: g.Namespace,
				}
				if to.Name != nil {
					k.toName = string(*to.Name)
				}
				m[k] = true
			}
		}
	}
	return m
}

// granted tells whether an object of fromKind in fromNamespace may refer to toName: in its own namespace always, elsewhere
// if a ReferenceGrant there says so. Attachment of routes to Gateways asks no grant.
func (t *translation) granted(fromGroup, fromKind, fromNamespace, toGroup, toKind, toNamespace, toName string) bool {
	if fromNamespace == toNamespace {
		return true
	}
	k := grant{fromGroup, fromKind, fromNamespace, toGroup, toKind, toNamespace, toName}
	if t.grants[k] {
		return true
	}
	k.toName = ""
	return t.grants[k]
}
