package e2e

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// sshClient is the client's end of an SSH connection. It waits for no answer that it can
// do without, while libraries wait for each. It offers one algorithm of each kind:
// curve25519-sha256 (RFC 8731), ssh-ed25519, and aes128-gcm@openssh.com, which is RFC 5647
// with no MAC to negotiate.
type sshClient struct {
	conn     net.Conn
	received int // bytes
	in, out  sshStream
	// The streams from NEWKEYS on, and the exchange hash, which is the session identifier:
	// valid after exchangeKeys.
	nextIn, nextOut sshStream
	session         [sha256.Size]byte
}

// Numbers of messages (RFC 4250 section 4.1.2).
const (
	sshServiceAccept = 6
	sshNewKeys       = 21
	sshLoginFailure  = 51
	sshLoginSuccess  = 52
	sshChannelClose  = 97
)

// dialSSH connects and exchanges keys.
func (h *host) dialSSH(t *testing.T, at netip.AddrPort) *sshClient {
	t.Helper()
	d := h.dialTCP(at, patience)
	if d.err != nil {
		t.Fatalf("connect: %v", d.err)
	}
	t.Cleanup(func() { d.conn.Close() })
	d.conn.SetDeadline(deadline(patience))
	c := &sshClient{conn: d.conn}
	if err := c.exchangeKeys(); err != nil {
		t.Fatalf("exchange keys: %v", err)
	}
	return c
}

// exchangeKeys does what RFC 4253 sections 4.2, 7 and 8 ask for, but for NEWKEYS. It takes
// any host key.
func (c *sshClient) exchangeKeys() error {
	// What is hashed (RFC 5656 section 4), in that order.
	var e struct {
		Version, ServerVersion string
		KexInit, ServerKexInit []byte
		HostKey                []byte
		Public, ServerPublic   []byte
		Secret                 *big.Int
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	gcm, mac, none := []string{"aes128-gcm@openssh.com"}, []string{"hmac-sha2-256"}, []string{"none"}
	// Neither ext-info-c (RFC 8308) nor strict key exchange is offered: the server would
	// send more messages, and count packets otherwise.
	e.KexInit = ssh.Marshal(struct {
		Cookie                        [16]byte `sshtype:"20"`
		KeyExchange, HostKey          []string
		CipherOut, CipherIn           []string
		MACOut, MACIn                 []string
		CompressionOut, CompressionIn []string
		LanguagesOut, LanguagesIn     []string
		FirstPacketFollows            bool
		Reserved                      uint32
	}{
		KeyExchange: []string{"curve25519-sha256"}, HostKey: []string{"ssh-ed25519"},
		CipherOut: gcm, CipherIn: gcm, MACOut: mac, MACIn: mac, CompressionOut: none, CompressionIn: none,
	})
	e.Version, e.Public = "SSH-2.0-Ahead", private.PublicKey().Bytes()
	if _, err := io.WriteString(c.conn, e.Version+"\r\n"); err != nil {
		return err
	}
	if e.ServerVersion, err = c.readLine(); err != nil {
		return fmt.Errorf("read the version: %w", err)
	}
	if _, err := c.conn.Write(c.out.seal(e.KexInit)); err != nil {
		return err
	}
	if e.ServerKexInit, err = c.read(); err != nil {
		return fmt.Errorf("read KEXINIT: %w", err)
	}
	if _, err := c.conn.Write(c.out.seal(ssh.Marshal(struct {
		Public []byte `sshtype:"30"`
	}{e.Public}))); err != nil {
		return err
	}
	message, err := c.read()
	if err != nil {
		return fmt.Errorf("read KEX_ECDH_REPLY: %w", err)
	}
	var reply struct {
		HostKey   []byte `sshtype:"31"`
		Public    []byte
		Signature []byte
	}
	if err := ssh.Unmarshal(message, &reply); err != nil {
		return err
	}
	e.HostKey, e.ServerPublic = reply.HostKey, reply.Public
	public, err := ecdh.X25519().NewPublicKey(reply.Public)
	if err != nil {
		return err
	}
	secret, err := private.ECDH(public)
	if err != nil {
		return err
	}
	e.Secret = new(big.Int).SetBytes(secret)
	c.session = sha256.Sum256(ssh.Marshal(e))
	c.nextOut, err = c.stream(e.Secret, 'A', 'C')
	if err == nil {
		c.nextIn, err = c.stream(e.Secret, 'B', 'D')
	}
	return err
}

// execAhead sends in one write that the keys are taken, a login, and a command to be
// executed; the command is sent whatever becomes of the login. It returns how many bytes
// come behind the login's success.
func (c *sshClient) execAhead(user string, key ssh.Signer, command string) (behind int, err error) {
	login, err := c.login(user, key)
	if err != nil {
		return 0, fmt.Errorf("sign the login: %w", err)
	}
	ahead := c.out.seal([]byte{sshNewKeys})
	c.out = c.nextOut
	for _, message := range [][]byte{
		ssh.Marshal(struct {
			Service string `sshtype:"5"`
		}{"ssh-userauth"}),
		login,
		ssh.Marshal(struct {
			Type                       string `sshtype:"90"`
			Channel, Window, MaxPacket uint32
		}{"session", 0, 1 << 20, 1 << 15}),
		ssh.Marshal(struct {
			Channel   uint32 `sshtype:"98"` // the server's number of it: OpenSSH counts from 0
			Type      string
			WantReply bool
			Command   string
		}{0, "exec", true, command}),
	} {
		ahead = append(ahead, c.out.seal(message)...)
	}
	if _, err := c.conn.Write(ahead); err != nil {
		return 0, err
	}
	for before := c.received; ; {
		message, err := c.read()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) {
			return c.received - before, nil
		}
		if err != nil {
			return 0, err
		}
		switch message[0] {
		case sshNewKeys:
			c.in, before = c.nextIn, c.received
		case sshServiceAccept, sshLoginSuccess:
			before = c.received
		case sshLoginFailure:
			return 0, errors.New("the login is refused")
		case sshChannelClose:
			// It is for the client to end the connection.
			return c.received - before, c.conn.Close()
		}
	}
}

// login is the request to be let in by a key (RFC 4252 section 7).
func (c *sshClient) login(user string, key ssh.Signer) ([]byte, error) {
	public := key.PublicKey()
	request := ssh.Marshal(struct {
		User      string `sshtype:"50"`
		Service   string
		Method    string
		Signed    bool
		Algorithm string
		Key       []byte
	}{user, "ssh-connection", "publickey", true, public.Type(), public.Marshal()})
	signature, err := key.Sign(rand.Reader, append(ssh.Marshal(struct{ Session []byte }{c.session[:]}), request...))
	if err != nil {
		return nil, err
	}
	return append(request, ssh.Marshal(struct{ Signature []byte }{ssh.Marshal(signature)})...), nil
}
