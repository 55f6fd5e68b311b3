package kubernetes

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	albv1 "github.com/fairlead-gateway/fairlead/api/alb/v1"
)

// addReferenceChecks adds the types that name other objects.
func addReferenceChecks(t checkTable) {
	t.add(on(func(at spot, r *gatewayv1.ParentReference) {
		setDefault(&r.Group, gatewayv1.GroupName)
		setDefault(&r.Kind, "Gateway")
		at.at("port").port(r.Port)
	}, "name"))
	t.add(on(func(_ spot, r *gatewayv1.ParentGatewayReference) {
		setDefault(&r.Group, gatewayv1.GroupName)
		setDefault(&r.Kind, "Gateway")
	}, "name"))
	t.add(on[gatewayv1.LocalObjectReference](nil, "group", "kind", "name"))
	t.add(on[gatewayv1.ObjectReference](nil, "group", "kind", "name"))
	t.add(on[gatewayv1.LocalPolicyTargetReference](nil, "group", "kind", "name"))
	t.add(on[gatewayv1.LocalPolicyTargetReferenceWithSectionName](nil, "group", "kind", "name"))
	t.add(on(func(_ spot, r *gatewayv1.SecretObjectReference) {
		setDefault(&r.Group, "")
		setDefault(&r.Kind, "Secret")
	}, "name"))
	t.add(on(checkBackendObject, "name"))
	t.add(on(checkBackendRef, "name"))
	t.add(on(func(at spot, r *gatewayv1.HTTPBackendRef) {
		checkBackendRef(at, &r.BackendRef)
		checkHTTPFilters(at.at("filters"), r.Filters)
	}, "name"))
	t.add(on(func(at spot, r *gatewayv1.GRPCBackendRef) {
		checkBackendRef(at, &r.BackendRef)
		checkGRPCFilters(at.at("filters"), r.Filters)
	}, "name"))
	t.add(on[gatewayv1.ReferenceGrantFrom](nil, "group", "kind", "namespace"))
	t.add(on[gatewayv1.ReferenceGrantTo](nil, "group", "kind"))
	t.add(on(func(at spot, s *gatewayv1.ReferenceGrantSpec) {
		at.at("from").items(len(s.From), 1, 16)
		at.at("to").items(len(s.To), 1, 16)
	}, "from", "to"))
	t.add(on[gatewayv1.ReferenceGrant](nil, "spec"))
	t.add(on(func(at spot, r *albv1.CustomTargetRef) { at.at("name").length(r.Name, 1, 253) }, "group", "kind", "name"))
}

func checkBackendRef(at spot, r *gatewayv1.BackendRef) {
	checkBackendObject(at, &r.BackendObjectReference)
	setDefault(&r.Weight, 1)
	between(at.at("weight"), r.Weight, 0, maxWeight)
}

func checkBackendObject(at spot, r *gatewayv1.BackendObjectReference) {
	setDefault(&r.Group, "")
	setDefault(&r.Kind, "Service")
	at.at("port").port(r.Port)
	if *r.Group == "" && *r.Kind == "Service" && r.Port == nil {
		at.at("port").refuse("name a port of the Service: port: 8080", "is missing for a Service")
	}
}

// checkParents holds parentRefs to the rules of CommonRouteSpec: two references to one parent both say which part of it they
// mean, and not the same.
func checkParents(at spot, s *gatewayv1.CommonRouteSpec) {
	at = at.at("parentRefs")
	if !at.items(len(s.ParentRefs), 0, 32) {
		return
	}
	type parent struct{ group, kind, namespace, name string }
	key := func(r *gatewayv1.ParentReference) parent {
		return parent{string(*r.Group), string(*r.Kind), string(orElse(r.Namespace, "")), string(r.Name)}
	}
	for j := range s.ParentRefs {
		for i := range j {
			a, b := &s.ParentRefs[i], &s.ParentRefs[j]
			section := [2]string{string(orElse(a.SectionName, "")), string(orElse(b.SectionName, ""))}
			port := [2]int32{orElse(a.Port, 0), orElse(b.Port, 0)}
			switch {
			case key(a) != key(b):
				continue
			case section[0] == section[1] && port[0] == port[1]:
				at.at(j).refuse("remove one of them", "refers to the same part of the same parent as item %d", i)
			case (section[0] == "") != (section[1] == "") || (port[0] == 0) != (port[1] == 0):
				at.at(j).refuse("give both of them sectionName, or both of them port", "refers to the parent of item %d, of which only one says which part", i)
			default:
				continue
			}
			break
		}
	}
}
