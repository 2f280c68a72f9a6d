package witness

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// The request of C2SP tlog-witness, word for word.
const specRequest = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`

// The checkpoint of C2SP tlog-cosignature, word for word.
const specCosigned = `example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
`

func TestSpecificationRequest(t *testing.T) {
	r, err := parseRequest([]byte(specRequest))
	if err != nil || r.old != 20852014 || len(r.proof) != 4 || !bytes.HasPrefix(r.note, []byte("example.com/behind-the-sofa\n20852163\n")) {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.proof[0].String() != "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=" {
		t.Error(r.proof[0])
	}
	if string(r.body()) != specRequest {
		t.Errorf("%s", r.body())
	}
	text, _, _ := strings.Cut(string(r.note), "\n\n")
	c, err := parseCheckpoint(text + "\n")
	if err != nil || c.origin != "example.com/behind-the-sofa" || c.size != 20852163 {
		t.Errorf("%+v, %v", c, err)
	}
}

// The time in the cosignature of the specification is the one in its text, and
// the message that is signed is its example.
func TestSpecificationCosignature(t *testing.T) {
	_, err := note.Open([]byte(specCosigned), nil)
	unverified, ok := err.(*note.UnverifiedNoteError)
	if !ok {
		t.Fatal(err)
	}
	at, err := Time(unverified.Note.UnverifiedSigs[1])
	if err != nil || at.Unix() != 1679315147 {
		t.Errorf("%v, %v", at, err)
	}
	const want = `cosignature/v1
time 1679315147
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
`
	if got := string(cosigned([]byte(unverified.Note.Text), 1679315147)); got != want {
		t.Errorf("%s", got)
	}
}

// The form of keys and signatures, computed by hand.
func TestSigner(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	key := ed25519.NewKeyFromSeed(seed)
	s, err := NewSigner("w.example/1", key)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1679315147, 0)
	s.now = func() time.Time { return now }
	text := []byte("example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	sig, err := s.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(sig) != 72 || binary.BigEndian.Uint64(sig) != 1679315147 {
		t.Errorf("%x", sig)
	}
	public, _ := key.Public().(ed25519.PublicKey)
	if !ed25519.Verify(public, []byte("cosignature/v1\ntime 1679315147\n"+string(text)), sig[8:]) {
		t.Error("the signature is not over the message of the specification")
	}
	if v := s.Verifier(); !v.Verify(text, sig) || v.Verify(text[1:], sig) || v.Verify(text, sig[1:]) || v.Verify(text, append(make([]byte, 8), sig[8:]...)) {
		t.Error("the verifier is wrong")
	}
	timeless := append(make([]byte, 8), ed25519.Sign(key, cosigned(text, 0))...)
	if s.Verifier().Verify(text, timeless) {
		t.Error("a cosignature without a time holds")
	}
	for _, bad := range []string{"", "x\n", "x\n1\n", "x\n01\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n", "x\n1\n47DEQpj8HBSa\n"} {
		if _, err := s.Sign([]byte(bad)); err == nil {
			t.Errorf("%q was cosigned", bad)
		}
	}
	back, err := ParseVerifier(s.VerifierKey())
	if err != nil || back.KeyHash() != s.KeyHash() || back.Name() != s.Name() || !back.Verify(text, sig) {
		t.Errorf("%v", err)
	}
	now = time.Unix(-5, 0)
	if _, err := s.Sign(text); err == nil {
		t.Error("cosigned before 1970")
	}
}

func TestKeysRefused(t *testing.T) {
	skey, vkey, err := GenerateKey("w.example/1")
	if err != nil {
		t.Fatal(err)
	}
	noteKey, noteVerifier, err := note.GenerateKey(zeros{}, "w.example/1")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "a log's": noteVerifier, "no name": strings.TrimPrefix(vkey, "w.example/1"), "another name": "x" + vkey,
		"short": vkey[:len(vkey)-4], "upper case": strings.ToUpper(vkey), "newline": vkey + "\n", "private": skey,
	} {
		if _, err := ParseVerifier(text); err == nil {
			t.Errorf("verifier %s: accepted %q", name, text)
		}
	}
	secret, err := base64.StdEncoding.DecodeString(strings.SplitN(skey, "+", 5)[4])
	for name, text := range map[string]string{
		"nothing": "", "a log's": noteKey, "public": vkey, "another name": strings.Replace(skey, "w.example", "v.example", 1), "cut off": skey[:len(skey)-1],
	} {
		_, failed := ParseSigner(text)
		if failed == nil || err != nil || strings.Contains(failed.Error(), hex.EncodeToString(secret[1:5])) {
			t.Errorf("signer %s: %v", name, failed)
		}
	}
	for _, name := range []string{"", "a b", "a+b", "a\n", "\xff"} {
		if _, _, err := GenerateKey(name); err == nil {
			t.Errorf("a key may be named %q", name)
		}
	}
	if !strings.Contains(vkey, "+") || len(strings.Split(vkey, "+")[1]) != 8 {
		t.Error(vkey)
	}
}

// zeros makes keys that need no secrecy.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestRequestsRefused(t *testing.T) {
	const hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw="
	for name, body := range map[string]string{
		"nothing":          "",
		"no empty line":    "old 1\n" + hash + "\n",
		"no old":           hash + "\n\nx\n",
		"two spaces":       "old  1\n\nx\n",
		"leading zero":     "old 01\n\nx\n",
		"sign":             "old +1\n\nx\n",
		"negative":         "old -1\n\nx\n",
		"too large a size": "old 9223372036854775808\n\nx\n",
		"carriage return":  "old 1\r\n\nx\n",
		"in the hash":      "old 1\n" + hash[:43] + "\r\n\nx\n",
		"short hash":       "old 1\n" + hash[4:] + "\n\nx\n",
		"stray bits":       "old 1\n" + strings.Replace(hash, "kaw=", "kax=", 1) + "\n\nx\n",
		"url alphabet":     "old 1\n" + strings.Replace(hash, "r", "_", 1) + "\n\nx\n",
		"64 lines":         "old 1\n" + strings.Repeat(hash+"\n", 64) + "\nx\n",
	} {
		if r, err := parseRequest([]byte(body)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if r, err := parseRequest([]byte("old 1\n" + strings.Repeat(hash+"\n", 63) + "\nx\n")); err != nil || len(r.proof) != 63 {
		t.Errorf("63 lines: %v", err)
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(specRequest))
	f.Add([]byte("old 0\n\nx\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— x AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRequest(data)
		if err != nil {
			return
		}
		if again := r.body(); !bytes.Equal(again, data) { // one request has one form
			t.Fatalf("%q becomes %q", data, again)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	f.Add("example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCheckpoint(text)
		if err != nil {
			return
		}
		lines := strings.Split(text, "\n")
		if c.origin == "" || c.origin != lines[0] || c.root.String() != lines[2] || c.size < 0 {
			t.Fatalf("%q: %+v", text, c)
		}
	})
}

func FuzzCosignature(f *testing.F) {
	s := newSigner(f, "w.example/1")
	text := []byte("x\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	good, err := s.Sign(text)
	if err != nil {
		f.Fatal(err)
	}
	v := s.Verifier()
	f.Add(good)
	f.Fuzz(func(t *testing.T, sig []byte) {
		if v.Verify(text, sig) && !bytes.Equal(sig, good) {
			t.Fatalf("%x is not what was signed", sig)
		}
		_, _ = Time(note.Signature{Base64: base64.StdEncoding.EncodeToString(sig)})
	})
}
