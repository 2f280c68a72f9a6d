package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/westworld-charter/charter/internal/charter"
)

// webhook posts signed JSON, as Standard Webhooks 1.0.0 has it
// (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
type webhook struct {
	to     *charter.Webhook
	getenv func(string) string
	poster *poster
	now    func() time.Time
}

const (
	minKey  = 24 // bytes of a signing secret, as the standard has it
	maxKeys = 4  // that sign at the same time
)

func (w *webhook) send(ctx context.Context, d *delivery) outcome {
	body, err := json.Marshal(d.payload())
	if err != nil {
		return failed(CodeRejected, "%v", err)
	}
	at := strconv.FormatInt(w.now().Unix(), 10)
	// As the standard writes them; HTTP does not mind.
	header := http.Header{"Webhook-Id": {d.ID}, "Webhook-Timestamp": {at}}
	if w.to.SecretFile != "" || w.to.SecretEnv != "" {
		text, err := secret(w.getenv, w.to.SecretFile, w.to.SecretEnv)
		if err != nil {
			return failed(CodeSecretUnavailable, "%v", err)
		}
		keys, err := signingKeys(text)
		if err != nil {
			return failed(CodeSecretTooShort, "%s: %v", first(w.to.SecretFile, w.to.SecretEnv), err)
		}
		header.Set("Webhook-Signature", sign(d.ID, at, body, keys))
	}
	return w.poster.post(ctx, w.to.URL, header, body)
}

// signingKeys reads secrets that are separated by spaces or lines: while one takes the
// place of another, both sign. After whsec_ a secret is base64, else it is the bytes as
// they are. The error has no part of them.
func signingKeys(text string) ([][]byte, error) {
	words := strings.Fields(text)
	if len(words) > maxKeys {
		return nil, fmt.Errorf("at most %d secrets can sign together", maxKeys)
	}
	var keys [][]byte
	for _, word := range words {
		key := []byte(word)
		if encoded, ok := strings.CutPrefix(word, "whsec_"); ok {
			var err error
			if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
				return nil, errors.New("what follows whsec_ is not base64")
			}
		}
		if len(key) < minKey {
			return nil, fmt.Errorf("a signing secret needs at least %d random bytes, such as whsec_$(openssl rand -base64 32)", minKey)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// sign returns the signatures of each key, over id, time and body.
func sign(id, at string, body []byte, keys [][]byte) string {
	var all []string
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.", id, at)
		mac.Write(body)
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " ")
}
