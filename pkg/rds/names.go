package rds

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

const (
	nqnPrefix  = "nqn.2000-02.com.mikrotik:"
	slotPrefix = "csi-"
	slotHex    = 28 // csi- and 28 digits are 32 characters, RouterOS' limit (facts/routeros.md §0.7)
	tokenBytes = 4
)

var ownSlot = regexp.MustCompile(`^csi-[0-9a-f]{28}$`)

// Slot is the slot of the volume that CreateVolume makes under name for a cluster. It is
// deterministic, so that a retry finds its own work.
func Slot(cluster, name string) string {
	sum := sha256.Sum256([]byte(cluster + "\x00" + name))
	return slotPrefix + hex.EncodeToString(sum[:])[:slotHex]
}

// OwnSlot tells whether slot has the form that Slot gives.
func OwnSlot(slot string) bool { return ownSlot.MatchString(slot) }

// NQN is the subsystem name of a volume under a fence token.
func NQN(slot, token string) string { return nqnPrefix + slot + "." + token }

// MatchesSlot tells whether nqn is one that NQN gives for slot, under any token.
func MatchesSlot(nqn, slot string) bool {
	token, ok := strings.CutPrefix(nqn, nqnPrefix+slot+".")
	if !ok || len(token) != 2*tokenBytes {
		return false
	}
	_, err := hex.DecodeString(token)
	return err == nil && token == strings.ToLower(token)
}

func closedNQN(slot string) string { return nqnPrefix + slot }

func newToken() string {
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
