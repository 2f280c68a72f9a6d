package signingtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"time"
)

// certify issues a certificate for ten minutes, entered in the certificate transparency
// log of the instance.
func (s *Sigstore) certify(email, issuer string, public crypto.PublicKey) ([]byte, error) {
	begin := time.Now().Add(-s.Backdate)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(begin.UnixNano()), EmailAddresses: []string{email}, NotBefore: begin, NotAfter: begin.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}}, // who vouches (Fulcio)
	}
	parent := s.fulcio.Intermediates[0]
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, s.issuing)
	if err != nil {
		return nil, err
	}
	without, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	list, err := s.timestampList(without.RawTBSCertificate, parent)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: list})
	return x509.CreateCertificate(rand.Reader, template, parent, public, s.issuing)
}

// timestampList is the extension with the promise of the log to enter the certificate
// (RFC 6962, sections 3.2 and 3.3).
func (s *Sigstore) timestampList(tbs []byte, parent *x509.Certificate) ([]byte, error) {
	issuerKey := sha256.Sum256(parent.RawSubjectPublicKeyInfo)
	at := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli()))

	signed := append([]byte{0, 0}, at...) // version 1, a promise about a certificate
	signed = append(signed, 0, 1)         // that is not issued yet
	signed = append(signed, issuerKey[:]...)
	signed = append(signed, byte(len(tbs)>>16)) // 24 bits of length
	signed = append(prefixed(signed, tbs), 0, 0)
	sum := sha256.Sum256(signed)
	sig, err := ecdsa.SignASN1(rand.Reader, s.ctKey, sum[:])
	if err != nil {
		return nil, err
	}
	promise := append([]byte{0}, logID(s.ctKey)...)
	promise = append(append(promise, at...), 0, 0)
	promise = prefixed(append(promise, 4, 3), sig) // SHA-256, ECDSA
	list := prefixed(nil, prefixed(nil, promise))  // of one
	return asn1.Marshal(list)
}

// prefixed appends data behind its length in 16 bits.
func prefixed(to, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(data))), data...)
}
