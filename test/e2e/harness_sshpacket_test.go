package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"golang.org/x/crypto/ssh"
)

// sshStream is what one end sends: in the clear as long as there is no cipher.
type sshStream struct {
	aead  cipher.AEAD
	nonce []byte // RFC 5647 section 7.1: 4 bytes that stay, 8 that count packets
}

// stream has the initial nonce and the key of these letters (RFC 4253 section 7.2).
func (c *sshClient) stream(secret *big.Int, nonce, key byte) (sshStream, error) {
	derive := func(letter byte, length int) []byte {
		sum := sha256.Sum256(ssh.Marshal(struct {
			Secret  *big.Int
			Hash    [sha256.Size]byte
			Letter  byte
			Session [sha256.Size]byte
		}{secret, c.session, letter, c.session}))
		return sum[:length]
	}
	block, err := aes.NewCipher(derive(key, 16))
	if err != nil {
		return sshStream{}, err
	}
	aead, err := cipher.NewGCM(block)
	return sshStream{aead, derive(nonce, aead.NonceSize())}, err
}

// seal makes a packet (RFC 4253 section 6). Its length is in the clear and authenticated
// (RFC 5647 section 7.3).
func (s *sshStream) seal(message []byte) []byte {
	const block, least = aes.BlockSize, 4
	padded := 1 + len(message) // of which the size is a multiple of a block
	if s.aead == nil {
		padded += 4
	}
	padding := least + (block-(padded+least)%block)%block
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(message)+padding))
	packet = append(append(packet, byte(padding)), message...)
	packet = append(packet, make([]byte, padding)...)
	if s.aead != nil {
		packet = s.aead.Seal(packet[:4], s.nonce, packet[4:], packet[:4])
		s.count()
	}
	return packet
}

func (s *sshStream) count() {
	binary.BigEndian.PutUint64(s.nonce[4:], binary.BigEndian.Uint64(s.nonce[4:])+1)
}

// read is the server's next message.
func (c *sshClient) read() ([]byte, error) {
	length, err := c.readBytes(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(length)
	if size > 1<<18 {
		return nil, fmt.Errorf("a packet of %d bytes", size)
	}
	if c.in.aead != nil {
		size += uint32(c.in.aead.Overhead())
	}
	packet, err := c.readBytes(int(size))
	if err != nil {
		return nil, err
	}
	if c.in.aead != nil {
		if packet, err = c.in.aead.Open(packet[:0], c.in.nonce, packet, length); err != nil {
			return nil, err
		}
		c.in.count()
	}
	if len(packet) < 2 || len(packet) < 2+int(packet[0]) {
		return nil, errors.New("a packet without a message")
	}
	return packet[1 : len(packet)-int(packet[0])], nil
}

// readLine is the server's version. OpenSSH sends no other lines before it.
func (c *sshClient) readLine() (string, error) {
	var line strings.Builder
	for !strings.HasSuffix(line.String(), "\r\n") {
		b, err := c.readBytes(1)
		if err != nil {
			return "", err
		}
		line.Write(b)
	}
	return strings.TrimSuffix(line.String(), "\r\n"), nil
}

// readBytes reads no more than it returns, and counts what there is of it.
func (c *sshClient) readBytes(n int) ([]byte, error) {
	b := make([]byte, n)
	n, err := io.ReadFull(c.conn, b)
	c.received += n
	return b[:n], err
}
