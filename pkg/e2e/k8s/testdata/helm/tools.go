//go:build tools

// Package tools keeps the program in go.mod that is built from another module as it is.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
