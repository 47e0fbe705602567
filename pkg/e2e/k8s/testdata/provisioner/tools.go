//go:build tools

// Package tools keeps the program in go.mod that is built from another module as it is.
package tools

import _ "github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner"
