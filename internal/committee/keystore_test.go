package committee

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

const cheap = 1 << 4 // of scrypt, for tests

func word(text string) func() (string, error) { return func() (string, error) { return text, nil } }

func TestKeyFiles(t *testing.T) {
	key, err := GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"%s", "0x%s", "\n %s\r\n"} {
		file := fmt.Sprintf(form, strings.TrimSpace(string(key.Plain())))
		if back, err := ParseKey([]byte(file), nil); err != nil || back.Address() != key.Address() {
			t.Errorf("%q: %v", form, err)
		}
	}
	file, err := key.encrypted(rand.Reader, "word", cheap)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, bytes.TrimSpace(key.Plain())) {
		t.Error("the key is in its encrypted file")
	}
	if back, err := ParseKey(file, word("word")); err != nil || back.Address() != key.Address() {
		t.Errorf("it does not open: %v", err)
	}
	if _, err := ParseKey(file, word("sword")); !errors.Is(err, ErrPassword) {
		t.Errorf("another password: %v", err)
	}
	again, err := key.encrypted(rand.Reader, "word", cheap)
	if err != nil || bytes.Equal(again, file) {
		t.Errorf("the same file twice: %v", err)
	}
}

func TestKeysDoNotShow(t *testing.T) {
	key := seeded(t, "cow")
	secret := strings.TrimSpace(string(key.Plain()))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, key); strings.Contains(text, secret[:16]) {
			t.Errorf("%s shows %s", verb, text)
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	key := seeded(t, "cow")
	file, err := key.encrypted(rand.Reader, "word", cheap)
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		if !strings.Contains(string(file), old) {
			t.Fatalf("%s is not in %s", old, file)
		}
		return strings.Replace(string(file), old, new, 1)
	}
	other := seeded(t, "ana").Address()
	mine := key.Address()
	for name, text := range map[string]string{
		"nothing":                   "",
		"zero":                      strings.Repeat("0", 64),
		"the order of the curve":    fmt.Sprintf("%x", order()),
		"short":                     strings.Repeat("1", 62),
		"prose":                     "my key",
		"no keystore":               "{}",
		"half a keystore":           string(file[:100]),
		"another version":           change(`"version": 3`, `"version": 1`),
		"another cipher":            change("aes-128-ctr", "none"),
		"another derivation":        change(`"scrypt"`, `"pbkdf2"`),
		"costs beyond reason":       change(`"n": 16`, `"n": 1073741824`),
		"memory beyond reason":      change(`"r": 8`, `"r": 1000000000`),
		"rounds beyond reason":      change(`"p": 1`, `"p": 1000000000`),
		"costs below reason":        change(`"n": 16`, `"n": 17`),
		"no parameters":             change(`"kdfparams"`, `"other"`),
		"a key of another length":   change(`"dklen": 32`, `"dklen": 16`),
		"no salt":                   change(`"salt": "`, `"salt": "x`),
		"a short iv":                change(`"iv": "`, `"iv": "ab`),
		"another ciphertext":        change(`"ciphertext": "`, `"ciphertext": "00`),
		"another mac":               change(`"mac": "`, `"mac": "00`),
		"the address of another":    change(fmt.Sprintf("%x", mine[:]), fmt.Sprintf("%x", other[:])),
		"an address that is none":   change(fmt.Sprintf("%x", mine[:]), "x"),
		"larger than any key":       strings.Repeat(" ", maxKeyFile+1),
		"a name twice in its parts": change(`"version": 3`, `"version": 3, "version": 3`),
	} {
		if _, err := ParseKey([]byte(text), word("word")); err == nil {
			t.Errorf("%s: it passed", name)
		}
	}
	none := errors.New("no password")
	if _, err := ParseKey(file, func() (string, error) { return "", none }); !errors.Is(err, none) {
		t.Errorf("without a password: %v", err)
	}
	if _, err := key.Encrypted(rand.Reader, ""); err == nil {
		t.Error("an empty password was taken")
	}
	for n := range int64(64) { // a source that ends early makes no weaker key
		if _, err := key.encrypted(iotest.TimeoutReader(bytes.NewReader(make([]byte, n))), "word", cheap); err == nil {
			t.Errorf("encrypted with %d random bytes", n)
		}
		if _, err := NewNonce(bytes.NewReader(make([]byte, n))); (err == nil) != (n >= nonceSize) {
			t.Errorf("nonce of %d bytes: %v", n, err)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	file, err := seeded(f, "cow").encrypted(rand.Reader, "word", cheap)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add(seeded(f, "cow").Plain())
	f.Add([]byte(`{"version":3,"crypto":{"cipher":"aes-128-ctr","kdf":"scrypt","kdfparams":{"n":2,"r":1,"p":1,"dklen":32}}}`))
	stop := errors.New("asked for a password") // deriving keys would take the time of the fuzzer
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := ParseKey(data, func() (string, error) { return "", stop })
		if (key == nil) == (err == nil) {
			t.Fatalf("%v, %v", key, err)
		}
		if err == nil {
			if back, err := ParseKey(key.Plain(), nil); err != nil || back.Address() != key.Address() {
				t.Fatalf("%q: %v", data, err)
			}
		}
	})
}
