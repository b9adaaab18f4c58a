package quicnet

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// protocol is what both sides must name, with its version: others are turned away in the handshake.
const protocol = "hs2-sync/1"

// maxKeyFileBytes is far more than a key file has.
const maxKeyFileBytes = 4096

// Identity is a node's name on the network: an Ed25519 key pair whose public half is its peer id.
type Identity struct {
	peer        hs2sync.ID
	key         ed25519.PrivateKey
	certificate tls.Certificate
}

// NewIdentity makes the identity of a secret key.
func NewIdentity(key ed25519.PrivateKey) (*Identity, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("quicnet: a secret key of %d bytes: an Ed25519 key has %d", len(key), ed25519.PrivateKeySize)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(1975, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(4096, 1, 1, 0, 0, 0, 0, time.UTC),
		DNSNames:     []string{"hs2-sync"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("quicnet: a certificate: %w", err)
	}
	return &Identity{
		peer:        hs2sync.ID(key.Public().(ed25519.PublicKey)),
		key:         key,
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}, nil
}

// GenerateIdentity makes a fresh identity.
func GenerateIdentity() (*Identity, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return NewIdentity(key)
}

// LoadIdentity reads an identity file, as `hs2-sync` has it too (PKCS #8 in DER); where there is none, a fresh identity is
// saved there first. The file must be its owner's alone.
func LoadIdentity(path string) (*Identity, error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return saveIdentity(path)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("quicnet: %s can be read by others: whoever reads it can be this node; chmod 600 it", path)
	}
	der, err := io.ReadAll(io.LimitReader(file, maxKeyFileBytes))
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("quicnet: %s holds no key: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("quicnet: %s holds a key of another kind than Ed25519", path)
	}
	return NewIdentity(key)
}

func saveIdentity(path string) (*Identity, error) {
	identity, err := GenerateIdentity()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(identity.key)
	if err != nil {
		return nil, err
	}
	draft := fmt.Sprintf("%s.new-%d", path, os.Getpid())
	file, err := os.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	defer os.Remove(draft)
	_, err = file.Write(der)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		// Fails where another process was faster: its key is the node's.
		err = os.Link(draft, path)
	}
	if errors.Is(err, os.ErrExist) {
		return LoadIdentity(path)
	}
	return identity, err
}

// PeerID is the identity's public key.
func (i *Identity) PeerID() hs2sync.ID { return i.peer }

// config is one side's TLS: each side shows a self-signed Ed25519 certificate and proves the key in the handshake. Names
// and authorities mean nothing here, and no session is resumed.
func (i *Identity) config(expected *hs2sync.ID) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{i.certificate},
		NextProtos:             []string{protocol},
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true,
		ServerName:             "hs2-sync",
		// The key is checked below, and is all that counts.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			peer, err := peerOf(state)
			switch {
			case err != nil:
				return err
			case peer == i.peer:
				return errOwnKey
			case expected != nil && *expected != peer:
				return fmt.Errorf("quicnet: peer %s is there, not %s", peer, *expected)
			}
			return nil
		},
	}
}

var errOwnKey = errors.New("quicnet: the other end has this node's own key")

// peerOf is who is at the other end: the key of a certificate that stands alone and is signed by it. The handshake has
// proven that the other end has the key.
func peerOf(state tls.ConnectionState) (peer hs2sync.ID, err error) {
	if len(state.PeerCertificates) != 1 {
		return peer, errors.New("quicnet: one certificate is to be shown")
	}
	certificate := state.PeerCertificates[0]
	key, ok := certificate.PublicKey.(ed25519.PublicKey)
	if !ok {
		return peer, errors.New("quicnet: the certificate's key is no Ed25519 key")
	}
	if certificate.SignatureAlgorithm != x509.PureEd25519 ||
		!ed25519.Verify(key, certificate.RawTBSCertificate, certificate.Signature) {
		return peer, errors.New("quicnet: the certificate is not signed by its own key")
	}
	return hs2sync.ID(key), nil
}
