package committee

import (
	"encoding/hex"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/crypto/sha3"
)

// The EIP-712 domain of all requests. It names no chain and no contract: what is
// signed is for charters alone.
const (
	DomainName    = "charter"
	DomainVersion = "1"
)

const domainType = "EIP712Domain"

func keccak(parts ...[]byte) (sum [32]byte) {
	h := sha3.NewLegacyKeccak256()
	for _, p := range parts {
		h.Write(p) // a hash does not fail
	}
	h.Sum(sum[:0])
	return sum
}

// Digest is the EIP-712 hash that members sign. It refuses a request that is not as
// documented with an [Error] of code invalid_request.
func (r Request) Digest() ([32]byte, error) {
	primary, fields, err := r.message()
	if err != nil {
		return [32]byte{}, err
	}
	domain := structHash(domainType, domainFields())
	message := structHash(primary, fields)
	return keccak([]byte{0x19, 0x01}, domain[:], message[:]), nil
}

// ID is a name for what the request brings about, such as an override: "o-" and the
// first 32 hexadecimal digits of the digest.
func (r Request) ID() (string, error) {
	digest, err := r.Digest()
	if err != nil {
		return "", err
	}
	return "o-" + hex.EncodeToString(digest[:16]), nil
}

func domainFields() []field {
	return []field{{name: "name", text: DomainName}, {name: "version", text: DomainVersion}}
}

func (f field) kind() string {
	if f.many {
		return "string[]"
	}
	return "string"
}

// structHash is hashStruct of EIP-712 for a struct of strings and lists of strings.
func structHash(name string, fields []field) [32]byte {
	var members []string
	for _, f := range fields {
		members = append(members, f.kind()+" "+f.name)
	}
	typeHash := keccak([]byte(name + "(" + strings.Join(members, ",") + ")"))
	encoded := typeHash[:]
	for _, f := range fields {
		hash := keccak([]byte(f.text))
		if f.many {
			var items []byte
			for _, item := range f.list {
				sum := keccak([]byte(item))
				items = append(items, sum[:]...)
			}
			hash = keccak(items)
		}
		encoded = append(encoded, hash[:]...)
	}
	return keccak(encoded)
}

// member is a field of a type as eth_signTypedData_v4 has it.
type member struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func members(fields []field) []member {
	list := make([]member, len(fields))
	for i, f := range fields {
		list[i] = member{f.name, f.kind()}
	}
	return list
}

// TypedData is the request as the parameter of eth_signTypedData_v4, for a wallet to
// show and sign: JSON, indented. The signature it gives is one of the request.
func (r Request) TypedData() ([]byte, error) {
	primary, fields, err := r.message()
	if err != nil {
		return nil, err
	}
	type object = map[string]any
	message := object{}
	for _, f := range fields {
		if f.many {
			message[f.name] = append([]string{}, f.list...)
		} else {
			message[f.name] = f.text
		}
	}
	return json.Marshal(object{
		"types":       object{domainType: members(domainFields()), primary: members(fields)},
		"primaryType": primary,
		"domain":      object{"name": DomainName, "version": DomainVersion},
		"message":     message,
	}, json.Deterministic(true), jsontext.WithIndent("  "))
}
