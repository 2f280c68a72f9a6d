package charterapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/westworld-charter/charter/internal/committee"
	"github.com/westworld-charter/charter/internal/enforcement"
	"github.com/westworld-charter/charter/internal/ledger"
	"github.com/westworld-charter/charter/internal/wire"
)

// committeeRoutes are about what the committee does. A request that its members
// signed proves itself, so whoever may talk to this server may bring it.
func (a *api) committeeRoutes() []wire.Route {
	signed := func(path string, serve handler) wire.Route {
		return a.post(path, serve, committee.MaxDocument, wire.AnyScope)
	}
	return []wire.Route{
		a.get(committeePath, a.committee, wire.AnyScope),
		a.get(overridesPath, a.overrides, wire.AnyScope),
		signed(overridesPath, a.override),
		signed(overridesPath+"/:id/renew", a.renew),
		signed(overridesPath+"/:id/end", a.endOverride),
		a.get(revocationsPath, a.revocations, wire.ScopeAudit, wire.ScopeCommittee),
		signed(revocationsPath, a.revoke),
		signed(revocationsPath+"/:node/end", a.endRevocation),
	}
}

// signed reads a request of the committee.
func (a *api) signed(w http.ResponseWriter, r *http.Request) (committee.Signed, error) {
	body, err := a.document(w, r)
	if err != nil {
		return committee.Signed{}, err
	}
	return decodeSigned(body)
}

func (a *api) document(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if _, err := wire.Parameters(r); err != nil {
		return nil, err
	}
	return wire.JSON(w, r, committee.MaxDocument)
}

func decodeSigned(body []byte) (committee.Signed, error) {
	s, err := committee.Decode(body)
	if own, ok := errors.AsType[*committee.Error](err); ok {
		status := http.StatusBadRequest
		if own.Code == committee.CodeInvalidSignature || own.Code == committee.CodeDuplicateSignature {
			status = http.StatusForbidden
		}
		return s, &wire.Error{Status: status, Code: own.Code, Message: wire.Cut(own.Message, wire.MaxMessage)}
	}
	return s, err
}

func (a *api) overrides(w http.ResponseWriter, r *http.Request) error {
	q, err := wire.Parameters(r, "active")
	if err != nil {
		return err
	}
	active, err := wire.OneOf(q, "active", "true", "false")
	if err != nil {
		return err
	}
	list := []override{}
	for _, o := range a.Enforcer.Overrides() {
		if active == "true" && !o.Ended.IsZero() || active == "false" && o.Ended.IsZero() {
			continue
		}
		if len(list) == maxPage {
			break
		}
		list = append(list, overrideOf(o))
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"overrides": list})
}

func (a *api) override(w http.ResponseWriter, r *http.Request) error {
	s, err := a.signed(w, r)
	if err != nil {
		return err
	}
	o, err := a.Enforcer.Override(r.Context(), s)
	if err != nil {
		return err
	}
	w.Header().Set("Location", overridesPath+"/"+o.ID)
	return wire.SendJSON(w, http.StatusCreated, overrideOf(o))
}

func (a *api) renew(w http.ResponseWriter, r *http.Request) error {
	s, err := a.signedFor(w, r, "/renew")
	if err != nil {
		return err
	}
	o, err := a.Enforcer.Renew(r.Context(), s)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, overrideOf(o))
}

func (a *api) endOverride(w http.ResponseWriter, r *http.Request) error {
	s, err := a.signedFor(w, r, "/end")
	if err != nil {
		return err
	}
	o, err := a.Enforcer.EndOverride(r.Context(), s)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, overrideOf(o))
}

// signedFor reads a request about the override that the path names.
func (a *api) signedFor(w http.ResponseWriter, r *http.Request, suffix string) (committee.Signed, error) {
	id, err := one(r, overridesPath, suffix)
	if err != nil {
		return committee.Signed{}, err
	}
	s, err := a.signed(w, r)
	if err == nil && s.Request.Override != id {
		err = wire.Wrong(wire.CodeInvalidValue, "request.override", "the request is for override %q, and was sent to %q", wire.Echo(s.Request.Override), wire.Echo(id))
	}
	return s, err
}

func (a *api) revocations(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	list := []revocation{}
	for _, x := range a.Enforcer.Revocations() {
		list = append(list, revocationOf(x))
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{"revocations": list})
}

// withdrawn is the reason with which a node may end its own data access.
const withdrawn = "consent_withdrawn"

// revoke ends the data access of a node: by the committee's signatures, in the name
// of somebody with its scope, or because the node itself wants it.
func (a *api) revoke(w http.ResponseWriter, r *http.Request) error {
	body, err := a.document(w, r)
	if err != nil {
		return err
	}
	var b struct {
		Node       string         `json:"node"`
		Reason     string         `json:"reason"`
		Request    jsontext.Value `json:"request"`
		Signatures jsontext.Value `json:"signatures"`
	}
	if err := wire.Decode(body, &b); err != nil {
		return err
	}
	var done enforcement.Revocation
	if b.Request != nil || b.Signatures != nil {
		s, err := decodeSigned(body)
		if err != nil {
			return err
		}
		if done, err = a.Enforcer.RevokeSigned(r.Context(), s); err != nil {
			return err
		}
	} else {
		who, err := a.proven(r)
		if err != nil {
			return err
		}
		if !who.has(wire.ScopeCommittee) && (who.Node == "" || who.Node != b.Node || b.Reason != withdrawn) {
			return notYours("this needs the scope committee or a signed request; a node may end its own data access, with the reason %s", withdrawn)
		}
		done, err = a.Enforcer.Revoke(r.Context(), enforcement.Revocation{Node: b.Node, Reason: b.Reason, By: who.Principal, RequestID: who.RequestID})
		if err != nil {
			return err
		}
	}
	return wire.SendJSON(w, http.StatusCreated, revocationOf(done))
}

func (a *api) endRevocation(w http.ResponseWriter, r *http.Request) error {
	return a.pardon(w, r, revocationsPath, "/end", a.Enforcer.EndRevocation)
}

type member struct {
	ID      string  `json:"id"`
	Address string  `json:"address"`
	Power   float64 `json:"power"`
	Email   string  `json:"email,omitempty"` // for the scopes audit, committee and admin
}

// act is a request that the committee signed and that had effect.
type act struct {
	Entry   uint64    `json:"entry"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"` // of the request, such as restore
	Node    string    `json:"node,omitempty"`
	Signers []string  `json:"signers"`
}

const (
	// maxActs is how many requests are shown, and maxLooked how many entries are looked
	// at for them.
	maxActs   = 20
	maxLooked = 500
)

func (a *api) committee(w http.ResponseWriter, r *http.Request) error {
	if _, err := wire.Parameters(r); err != nil {
		return err
	}
	c := a.Charter()
	if c == nil {
		return &wire.Error{Status: http.StatusServiceUnavailable, Code: string(enforcement.Unavailable), Message: "no policy is active", Retry: time.Second}
	}
	trusted := a.Caller(r.Context()).has(wire.ScopeAudit, wire.ScopeCommittee, wire.ScopeAdmin)
	members, power := []member{}, 0.0
	for _, m := range c.Committee.Members {
		shown := member{ID: m.ID, Address: m.Address, Power: m.Power}
		if trusted {
			shown.Email = m.Email
		}
		members = append(members, shown)
		power += m.Power
	}
	needs := map[string]float64{}
	for _, kind := range committee.Kinds() {
		needs[kind] = committee.Share(c, kind)
	}
	acts, err := a.acts(r)
	if err != nil {
		return err
	}
	return wire.SendJSON(w, http.StatusOK, map[string]any{
		"charter": c.Metadata.Name, "members": members, "power": power,
		"quorum": map[string]any{"heads": c.Committee.Quorum.Heads, "power": needs}, "requests": acts,
	})
}

// acts are the newest requests that had effect.
func (a *api) acts(r *http.Request) ([]act, error) {
	list := []act{}
	f := ledger.Filter{Kinds: []ledger.Kind{ledger.Standing, ledger.Override, ledger.Revocation}, Newest: true, Limit: maxLooked}
	for row, err := range a.History.Find(r.Context(), f) {
		if err != nil {
			return nil, err
		}
		if x, ok := actOf(row); ok {
			list = append(list, x)
		}
		if len(list) == maxActs {
			break
		}
	}
	return list, nil
}

func actOf(row ledger.Row) (act, bool) {
	if row.Body == nil {
		return act{}, false
	}
	e, err := ledger.ParseEntry(row.Body)
	if err != nil {
		return act{}, false
	}
	var signed struct {
		Request string   `json:"request"`
		Signers []string `json:"signers"`
	}
	if decode(e.Data, &signed) != nil || signed.Request == "" {
		return act{}, false
	}
	s, err := committee.Decode([]byte(signed.Request))
	if err != nil {
		return act{}, false
	}
	at, _ := e.At() // ParseEntry has looked at it
	return act{Entry: row.Index, Time: at, Kind: s.Request.Kind, Node: e.Node, Signers: some(signed.Signers)}, true
}

// decode reads the Data of an entry of our own; members that are not asked for are
// passed over.
func decode(data jsontext.Value, into any) error { return json.Unmarshal(data, into) }
