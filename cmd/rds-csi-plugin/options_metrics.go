package main

import (
	"errors"
	"flag"
)

// metricsOptions are those of the HTTP endpoint.
type metricsOptions struct {
	address, tlsCert, tlsKey string
	native, pprof            bool
}

func (o *metricsOptions) define(f *flag.FlagSet) {
	f.StringVar(&o.address, "metrics-address", ":9809", "host:port of /metrics, /livez and /readyz; empty turns them off")
	f.StringVar(&o.tlsCert, "metrics-tls-cert", "", "file with the certificate of that endpoint, in PEM, read again when it changes (default: plain HTTP)")
	f.StringVar(&o.tlsKey, "metrics-tls-key", "", "file with that certificate's private key, in PEM")
	f.BoolVar(&o.native, "metrics-native-histograms", false, "give histograms native buckets beside the classic ones")
	f.BoolVar(&o.pprof, "pprof", false, "serve /debug/pprof beside /metrics")
}

func (o *metricsOptions) check() error {
	switch {
	case o.tlsCert != "" && o.tlsKey == "":
		return errors.New("--metrics-tls-key is missing: --metrics-tls-cert needs its private key")
	case o.tlsKey != "" && o.tlsCert == "":
		return errors.New("--metrics-tls-cert is missing: --metrics-tls-key needs its certificate")
	case o.tlsCert != "" && o.address == "":
		return errors.New("--metrics-address is empty, so nothing is served: leave --metrics-tls-cert and --metrics-tls-key out, or give an address such as :9809")
	case o.pprof && o.address == "":
		return errors.New("--metrics-address is empty, so nothing is served: leave --pprof out, or give an address such as :9809")
	}
	return nil
}
