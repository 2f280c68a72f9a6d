package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/westworld-charter/charter/internal/charter"
)

// slack posts to an incoming webhook, whose address is a secret
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
type slack struct {
	to     *charter.Slack
	getenv func(string) string
	poster *poster
}

type slackMessage struct {
	Channel string       `json:"channel,omitempty"` // for receivers that let it be chosen
	Text    string       `json:"text"`              // what a phone shows
	Blocks  []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type string    `json:"type"`
	Text slackText `json:"text"`
}

type slackText struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji bool   `json:"emoji"`
}

// Limits of Slack, in characters.
const (
	maxSlackHeader  = 150
	maxSlackSection = 3000
)

func (s *slack) send(ctx context.Context, d *delivery) outcome {
	address, err := secret(s.getenv, s.to.URLFile, s.to.URLEnv)
	if err != nil {
		return failed(CodeSecretUnavailable, "%v", err)
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || !protected(u) {
		return failed(CodeInsecureURL, "the address of the incoming webhook, which is a secret, must begin with https://")
	}
	body, err := json.Marshal(slackOf(s.to.Channel, d.Digest))
	if err != nil {
		return failed(CodeRejected, "%v", err)
	}
	return s.poster.post(ctx, address, http.Header{}, body)
}

// slackOf renders a message. What a node chose is plain text, so it can neither
// format nor link nor mention anybody.
func slackOf(to string, g *digest) slackMessage {
	title := g.title()
	blocks := []slackBlock{{"header", slackText{"plain_text", cut(title, maxSlackHeader), false}}}
	if text := strings.TrimSpace(g.text()); text != "" {
		blocks = append(blocks, slackBlock{"section", slackText{"plain_text", cut(text, maxSlackSection), false}})
	}
	return slackMessage{Channel: to, Text: strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(title), Blocks: blocks}
}

// cut shortens a text to so many characters.
func cut(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}
