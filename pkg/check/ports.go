package check

import "context"

func (r *Result) lookAtPorts(ctx context.Context) {
	const subject = "NVMe/TCP port"
	if len(r.config.Addresses) == 0 {
		r.found.add(Failed, subject, "give --nvme-address the IP address of the array in the storage network", "no address is known: --rds-address is a name, which the kernel does not resolve")
	}
	for _, address := range r.config.Addresses {
		switch err := r.config.Dial(ctx, address); {
		case err == nil:
			r.found.ok(subject, "%s answers", address)
		case refusedByPeer(err):
			r.found.add(Warning, subject, "run it with --write, which exports a volume, or look again while one is attached",
				"%s is reached, but nothing listens there; an array without a single export may not listen", address)
		default:
			r.found.add(Failed, subject, "check the address, the network and firewalls between here and the array", "%s is not reached: %v", address, err)
		}
	}
}
