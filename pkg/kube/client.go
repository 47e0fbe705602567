package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	storagev1 "k8s.io/client-go/kubernetes/typed/storage/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// requestTimeout bounds every request. An API server that takes longer is of no use to anybody here.
	requestTimeout = 5 * time.Second
	// requestsPerSecond and requestBurst bound what one process asks of the API server.
	requestsPerSecond, requestBurst = 10, 20
)

// ErrNone says that there is no API server: the process is in no pod, and no kubeconfig was given.
var ErrNone = errors.New("no Kubernetes API server: neither a service account nor a kubeconfig")

// Client talks to one API server.
type Client struct {
	host    string
	http    *http.Client
	core    corev1.CoreV1Interface
	storage storagev1.StorageV1Interface
}

// Open prepares a client and sends nothing. It takes the kubeconfig file if one is named, else the pod's
// service account; ErrNone where there is neither. userAgent names the program to the API server.
func Open(kubeconfig, userAgent string) (*Client, error) {
	cfg, err := load(kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.Timeout, cfg.QPS, cfg.Burst = requestTimeout, requestsPerSecond, requestBurst
	cfg.UserAgent, cfg.WarningHandlerWithContext = userAgent, rest.NoWarnings{}
	c := &Client{host: cfg.Host}
	if c.http, err = rest.HTTPClientFor(cfg); err != nil {
		return nil, fmt.Errorf("prepare to talk to the API server %s: %w", cfg.Host, err)
	}
	if c.core, err = corev1.NewForConfigAndClient(cfg, c.http); err != nil {
		return nil, fmt.Errorf("prepare to talk to the API server %s: %w", cfg.Host, err)
	}
	if c.storage, err = storagev1.NewForConfigAndClient(cfg, c.http); err != nil {
		return nil, fmt.Errorf("prepare to talk to the API server %s: %w", cfg.Host, err)
	}
	return c, nil
}

func load(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		switch {
		case errors.Is(err, rest.ErrNotInCluster):
			return nil, ErrNone
		case err != nil:
			return nil, fmt.Errorf("read the pod's service account: %w", err)
		}
		return cfg, nil
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig %s: %w", kubeconfig, err)
	}
	return cfg, nil
}

// Close gives back idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// bounded is ctx with requestTimeout: the wait for a request's turn counts, too. client-go logs what it does to
// the logger of its context, else as plain text to stderr, in between this program's JSON.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(logr.NewContext(ctx, logr.Discard()), requestTimeout)
}
