package ethereum

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/signer/core/apitypes"
	"github.com/google/uuid"

	"github.com/westworld-charter/charter/internal/committee"
)

var update = flag.Bool("update", false, "write the vectors of internal/committee")

const vectorsFile = "../../internal/committee/testdata/vectors.json"

// vectors is what go-ethereum makes of requests.
type vectors struct {
	Origin  string   `json:"origin"`
	Vectors []vector `json:"vectors"`
}

type vector struct {
	Seed      string            `json:"seed"` // the private key is its Keccak-256 hash
	Address   string            `json:"address"`
	Request   committee.Request `json:"request"`
	Digest    string            `json:"digest"`
	Signature string            `json:"signature"`
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func requests() []committee.Request {
	expires, nonce := at("2026-06-02T00:00:00Z"), "000102030405060708090a0b0c0d0e0f"
	return []committee.Request{
		{
			Kind: committee.Override, Charter: "production", Clauses: []string{"net.latency", "net.node"}, Nodes: []string{"edge-1", "Edge.2:a/b@c"},
			Retention: "60d", Purposes: []string{"operations"}, Reason: "OPS-12", From: at("2026-06-01T00:00:00Z"), Until: at("2026-06-01T02:00:00Z"), Nonce: nonce, Expires: expires,
		},
		{
			Kind: committee.Override, Charter: "production", Clauses: []string{"net.latency"}, Retention: "60d", Reason: "OPS-12",
			From: at("2026-06-01T00:00:00Z"), Until: at("2026-06-01T02:00:00Z"), Nonce: nonce, Expires: expires,
		},
		{Kind: committee.Renew, Charter: "production", Override: "o-00112233445566778899aabbccddeeff", Reason: "OPS-12", Until: at("2026-06-01T04:00:00Z"), Nonce: nonce, Expires: expires},
		{Kind: committee.EndOverride, Charter: "production", Override: "o-00112233445566778899aabbccddeeff", Reason: "solved", Nonce: nonce, Expires: expires},
		{Kind: committee.Restore, Charter: "production", Node: "edge-1", Reason: "inspected", Nonce: nonce, Expires: expires},
		{Kind: committee.Revoke, Charter: "production", Node: "edge-1", Reason: "decommissioned", Nonce: nonce, Expires: expires},
		{Kind: committee.EndRevocation, Charter: "production", Node: "edge-1", Reason: "returned", Nonce: nonce, Expires: expires},
	}
}

// judge hashes and signs the typed data as a wallet does, with go-ethereum alone.
func judge(t *testing.T, seed string, typed []byte) (address, digest, signature string) {
	t.Helper()
	var data apitypes.TypedData
	if err := json.Unmarshal(typed, &data); err != nil {
		t.Fatal(err)
	}
	hash, _, err := apitypes.TypedDataAndHash(data)
	if err != nil {
		t.Fatal(err)
	}
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte(seed)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := crypto.Sign(hash, key)
	if err != nil {
		t.Fatal(err)
	}
	raw[64] += 27
	return crypto.PubkeyToAddress(key.PublicKey).Hex(), "0x" + hex.EncodeToString(hash), "0x" + hex.EncodeToString(raw)
}

func typed(t *testing.T, r committee.Request) []byte {
	t.Helper()
	data, err := r.TypedData()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func ours(t *testing.T, seed string) *committee.Key {
	t.Helper()
	key, err := committee.ParseKey([]byte(hex.EncodeToString(crypto.Keccak256([]byte(seed)))), nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The vectors that the tests of internal/committee check are what go-ethereum says.
func TestVectors(t *testing.T) {
	all := vectors{Origin: "go-ethereum v1.17.10, by tests/ethereum"}
	for i, r := range requests() {
		seed := []string{"cow", "ana", "ben"}[i%3]
		v := vector{Seed: seed, Request: r}
		v.Address, v.Digest, v.Signature = judge(t, seed, typed(t, r))
		all.Vectors = append(all.Vectors, v)
	}
	want, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(vectorsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(vectorsFile); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what go-ethereum makes (%v); if the requests were changed on purpose, run with -update", vectorsFile, err)
	}
}

// Whatever a request says, both hash and sign it alike, and each recovers what the
// other signed.
func TestRandomRequests(t *testing.T) {
	random := mathrand.New(mathrand.NewPCG(7, 12))
	for i := range 300 {
		r := requests()[i%len(requests())]
		r.Charter = fmt.Sprintf("c%d", random.Uint64())
		r.Reason = fmt.Sprintf("T-%d", random.Uint64())
		if r.Kind == committee.Revoke {
			r.Reason = "legal"
		}
		for range random.IntN(5) {
			if r.Kind == committee.Override {
				r.Nodes = append(r.Nodes[:len(r.Nodes):len(r.Nodes)], fmt.Sprintf("n%d", random.Uint64()))
			}
		}
		r.Expires = r.Expires.Add(time.Duration(random.IntN(1e6)) * time.Second)
		seed := fmt.Sprint("seed", random.Uint64())
		address, digest, signature := judge(t, seed, typed(t, r))
		mine, err := r.Digest()
		if err != nil || "0x"+hex.EncodeToString(mine[:]) != digest {
			t.Fatalf("%+v: digest %x, %v, go-ethereum has %s", r, mine, err, digest)
		}
		key := ours(t, seed)
		sig, err := key.Sign(r)
		if err != nil || sig.Address != address || sig.Signature != signature || key.Address().String() != address {
			t.Fatalf("%+v: %+v, %v; go-ethereum has %s by %s", r, sig, err, signature, address)
		}
		if a, err := committee.Recover(mine, signature); err != nil || a.String() != address {
			t.Fatalf("recovered %s, %v from a signature of %s", a, err, address)
		}
	}
}

// geth opens our key files and we open those of geth.
func TestKeystores(t *testing.T) {
	key, err := committee.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file, err := key.Encrypted(rand.Reader, "pässword")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := keystore.DecryptKey(file, "pässword")
	if err != nil || theirs.Address.Hex() != key.Address().String() {
		t.Fatalf("geth reads %+v, %v", theirs, err)
	}
	private, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		t.Fatal(err)
	}
	file, err = keystore.EncryptKey(&keystore.Key{Id: id, Address: crypto.PubkeyToAddress(private.PublicKey), PrivateKey: private}, "word", keystore.StandardScryptN, keystore.StandardScryptP)
	if err != nil {
		t.Fatal(err)
	}
	back, err := committee.ParseKey(file, func() (string, error) { return "word", nil })
	if err != nil || !strings.EqualFold(back.Address().String(), crypto.PubkeyToAddress(private.PublicKey).Hex()) {
		t.Fatalf("we read %v, %v", back, err)
	}
}
