// Command registrar tells kubelet of a CSI driver: it stands in for node-driver-registrar, which cannot be
// had as a Go module, with the flags that the chart gives it.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type server struct {
	registration.UnimplementedRegistrationServer
	driver, endpoint string
}

func (s server) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{Type: "CSIPlugin", Name: s.driver, Endpoint: s.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

// NotifyRegistrationStatus ends the program when kubelet could not register the driver: the kubelet starts it anew.
func (s server) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.GetPluginRegistered() {
		log.Fatalf("kubelet did not register %s: %s", s.driver, status.GetError())
	}
	log.Printf("kubelet has registered %s", s.driver)
	return &registration.RegistrationStatusResponse{}, nil
}

// driverName waits until the driver answers.
func driverName(ctx context.Context, address string) (string, error) {
	conn, err := grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	info, err := csi.NewIdentityClient(conn).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	return info.GetName(), err
}

func main() {
	address := flag.String("csi-address", "/csi/csi.sock", "the driver's socket")
	endpoint := flag.String("kubelet-registration-path", "", "the same socket as kubelet sees it")
	flag.Int("v", 0, "not used")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *endpoint); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address, endpoint string) error {
	name, err := driverName(ctx, address)
	if err != nil {
		return err
	}
	socket := filepath.Join("/registration", name+"-reg.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	serving := grpc.NewServer()
	registration.RegisterRegistrationServer(serving, server{driver: name, endpoint: endpoint})
	go func() {
		<-ctx.Done()
		serving.Stop()
	}()
	return serving.Serve(listener)
}
