package distribution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/westworld-charter/charter/internal/release"
)

// maxRefusal bounds what is read of the reasons of a registry, in bytes.
const maxRefusal = 8 << 10

// maxPages bounds the pages of a list of referrers.
const maxPages = 50

// registryStore is a repository of a registry.
type registryStore struct {
	repo   *remote.Repository
	ref    Ref
	limits Limits

	mu     sync.Mutex
	lister *remote.Repository // knows whether there is a referrers API; nil is not known
}

func newRegistry(ref Ref, o Options) (*registryStore, error) {
	client, err := newClient(o)
	if err != nil {
		return nil, err
	}
	credential, err := registryCredential(ref, o)
	if err != nil {
		return nil, err
	}
	authorized := &auth.Client{Client: client, Cache: auth.NewCache(), Credential: credential}
	authorized.SetUserAgent(o.userAgent())
	host, _, _ := strings.Cut(ref.location, "/")
	return &registryStore{repo: newRepository(ref, authorized, o.plainHTTP(host), o.Limits), ref: ref, limits: o.Limits}, nil
}

func newRepository(ref Ref, client remote.Client, plainHTTP bool, lim Limits) *remote.Repository {
	host, repository, _ := strings.Cut(ref.location, "/")
	return &remote.Repository{
		Client: client, Reference: oras.Reference{Registry: host, Repository: repository}, PlainHTTP: plainHTTP,
		ManifestMediaTypes:   []string{release.ManifestType, ocispec.MediaTypeImageIndex},
		ReferrerListMaxPages: maxPages, MaxMetadataBytes: lim.Index + 1,
		SkipReferrersGC: true, // few registries let clients delete, and nothing needs it
	}
}

func (o Options) userAgent() string {
	if o.UserAgent != "" {
		return o.UserAgent
	}
	return "charter"
}

// registryCredential returns what is shown to the registry of ref: the token if there
// is one, else what Docker's configuration says. Others get the latter only.
func registryCredential(ref Ref, o Options) (auth.CredentialFunc, error) {
	var store credentials.Store
	if o.DockerConfig != "" {
		dynamic, err := credentials.NewStore(o.DockerConfig, credentials.StoreOptions{})
		if err != nil {
			return nil, &Error{CodeIO, o.DockerConfig, err}
		}
		store = dynamic
	} else if dynamic, err := credentials.NewStoreFromDocker(credentials.StoreOptions{}); err == nil {
		store = dynamic
	} else {
		store = credentials.NewMemoryStore() // no home directory: a service without credentials
	}
	fromStore := credentials.Credential(store)
	host := oras.Reference{Registry: ref.host()}.Host()
	return func(ctx context.Context, hostport string) (auth.Credential, error) {
		if o.TokenFile != "" && hostport == host {
			token, err := o.token()
			return auth.Credential{AccessToken: token}, err
		}
		credential, err := fromStore(ctx, hostport)
		if err != nil {
			return credential, coded(CodeUnauthorized, fmt.Errorf("credentials for %s: %w", hostport, err))
		}
		return credential, nil
	}, nil
}

func (s *registryStore) resolve(ctx context.Context, known string) ([]byte, error) {
	name := s.ref.digest
	if name == "" {
		name = s.ref.tag
	}
	if name == "" {
		name = defaultTag
	}
	if known != "" {
		if name == known {
			return nil, nil
		}
		// A registry that does not tell the digest is asked for the manifest instead.
		switch d, err := s.repo.Resolve(ctx, name); {
		case err == nil && d.Digest.String() == known:
			return nil, nil
		case err != nil && codeOf(err) != CodeBadResponse:
			return nil, err
		}
	}
	raw, claimed, err := s.get(ctx, name)
	if err != nil {
		return nil, err
	}
	got := release.Digest(raw)
	for _, want := range []string{s.ref.digest, claimed} {
		if want != "" && got != want {
			return nil, coded(CodeManifestDigestMismatch, fmt.Errorf("what the registry sends for %s as %s has the digest %s", name, want, got))
		}
	}
	return raw, nil
}

// get fetches a manifest, without trusting any header about it. claimed is the digest
// that the registry says it has, "" when it says none.
func (s *registryStore) get(ctx context.Context, name string) (raw []byte, claimed string, err error) {
	scheme := "https"
	if s.repo.PlainHTTP {
		scheme = "http"
	}
	url := fmt.Sprintf("%s://%s/v2/%s/manifests/%s", scheme, s.repo.Reference.Host(), s.repo.Reference.Repository, name)
	ctx = auth.AppendRepositoryScope(ctx, s.repo.Reference, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Accept", strings.Join(s.repo.ManifestMediaTypes, ", "))
	resp, err := s.repo.Client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		refusal := errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
		var why struct{ Errors errcode.Errors }
		if json.NewDecoder(io.LimitReader(resp.Body, maxRefusal)).Decode(&why) == nil {
			refusal.Errors = why.Errors
		}
		return nil, "", &refusal
	}
	raw, err = readAll(resp.Body, release.MaxManifest, unwatched)
	if err != nil {
		return nil, "", fmt.Errorf("read the manifest %s: %w", name, err)
	}
	return raw, resp.Header.Get("Docker-Content-Digest"), nil
}

func (s *registryStore) referrers(ctx context.Context, subject release.Descriptor, limit int) ([]release.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lister == nil {
		s.lister = newRepository(s.ref, s.repo.Client, s.repo.PlainHTTP, s.limits)
	}
	var list []release.Descriptor
	err := s.lister.Referrers(withLimit(ctx, s.limits.Index), ociDescriptor(subject), "", func(page []ocispec.Descriptor) error {
		for _, d := range page {
			known := slices.ContainsFunc(list, func(have release.Descriptor) bool { return have.Digest == d.Digest.String() })
			if known {
				continue
			}
			if len(list) == limit {
				return coded(CodeTooManyReferrers, fmt.Errorf("more than %d", limit))
			}
			list = append(list, release.Descriptor{MediaType: d.MediaType, Digest: d.Digest.String(), Size: d.Size, Annotations: d.Annotations})
		}
		return nil
	})
	// Where there was an API, its absence is an error once; where there was none, it is
	// asked for again. Either way a registry or a proxy may have been replaced.
	if err == nil && s.lister.SetReferrersCapability(true) != nil || errors.Is(err, errdef.ErrUnsupported) {
		s.lister = nil
	}
	return list, err
}

func (s *registryStore) manifest(ctx context.Context, d release.Descriptor) ([]byte, error) {
	raw, _, err := s.get(ctx, d.Digest)
	return raw, err
}

func (s *registryStore) blob(ctx context.Context, d release.Descriptor, moved func(int)) ([]byte, error) {
	body, err := s.repo.Blobs().Fetch(ctx, ociDescriptor(d))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := readAll(body, d.Size, moved)
	return data, errors.Join(err, ctx.Err())
}

func ociDescriptor(d release.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: digest.Digest(d.Digest), Size: d.Size, Annotations: d.Annotations}
}
