// Package kube is the driver's side of the Kubernetes API, and the only importer of client-go. It is
// optional: without an API server the driver works all the same, with fewer proofs and no events. Nothing
// in it is waited for by a CSI call, and every request is bounded (requestTimeout).
//
// # Rights
//
// What the service accounts need, and for what. The driver asks for nothing else: one list, no watch, no
// secrets. A right that is missing takes away what the right-most column says, and nothing more.
//
// Controller:
//
//	group            resource           names        verbs          scope              for
//	""               namespaces         kube-system  get            cluster            the default of --cluster-id, orphans
//	""               persistentvolumes  (any)        list           cluster            the count of volumes without one (orphans)
//	""               events             (any)        create, patch  driver's namespace events on the controller's Pod
//
// Node:
//
//	group            resource           names        verbs          scope              for
//	""               namespaces         kube-system  get            cluster            the default of --cluster-id, proof (b) of revocation
//	storage.k8s.io   volumeattachments  (any)        get            cluster            proof (b) of revocation; the PV of a volume
//	""               persistentvolumes  (any)        get            cluster            the claim of a volume, for events
//	""               events             (any)        create, patch  cluster            events on claims, Pods and Nodes
//
// Node, with --startup-taint only:
//
//	storage.k8s.io   csinodes           (any)        get            cluster            to see that the driver is registered
//	""               nodes              (any)        get, patch     cluster            to take the taint off its own Node
//
// RBAC cannot bind a service account to one node's objects: the names above are "any" where each node needs
// others. The driver itself reads and patches those of its own node alone.
package kube
