package decisionapi

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/westworld-charter/charter/internal/wire"
)

// guard refuses what no legitimate caller sends: pages of other origins that
// use a visitor's browser, names that were rebound to loopback, requests that a
// proxy hands on to a server that trusts everybody it hears, and bodies that
// no route would read.
func (a *api) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if limit := a.limitOf(c); r.ContentLength > limit {
			return wire.TooLarge(limit)
		}
		if crossOrigin(r) {
			return &wire.Error{
				Status: http.StatusForbidden, Code: codeCrossOrigin,
				Message: "requests from web pages of another origin are refused",
			}
		}
		if a.InsecureSelfAsserted {
			if err := checkLocal(r); err != nil {
				return err
			}
		}
		if err := a.decompress(c); err != nil {
			return err
		}
		return next(c)
	}
}

// limitOf is the largest body that a route reads. A stream is read line by line
// and may be of any length.
func (a *api) limitOf(c echo.Context) int64 {
	switch c.Path() {
	case batchPath:
		if lineByLine(c.Request()) {
			return math.MaxInt64
		}
		return a.MaxBatchBody
	case dataBatchPath, evaluationsPath, listPath:
		return a.MaxBatchBody
	default:
		if limit, ok := a.bodies[c.Path()]; ok {
			return limit
		}
		return a.MaxBody
	}
}

// crossOrigin reports whether a browser says that another origin made the
// request. Only browsers send these headers, and pages cannot forge them.
func crossOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host)
}

// checkLocal makes sure that a request with self-asserted identity comes from
// this machine and was meant for it. The listener is on loopback already; these
// checks hold when a proxy or a routing rule leads strangers to it.
func checkLocal(r *http.Request) error {
	if !loopbackHost(r.Host) {
		return &wire.Error{
			Status: http.StatusForbidden, Code: codeForbiddenHost,
			Message: "Host " + wire.Echo(r.Host) + " is not loopback: with --insecure-self-asserted only localhost, 127.0.0.1 and [::1] are served",
		}
	}
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(h) != "" {
			return notLocal("a request that a proxy handed on (" + h + ")")
		}
	}
	if !loopbackHost(r.RemoteAddr) {
		return notLocal("a request from another machine")
	}
	return nil
}

func notLocal(what string) error {
	return &wire.Error{
		Status: http.StatusForbidden, Code: codeNotLocal,
		Message: what + " is refused with --insecure-self-asserted",
	}
}

// loopbackHost reports whether host, with or without a port, is localhost or a
// loopback address.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// identify lets a question pass only when it is settled who may assert its
// role, node and claims.
func (a *api) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return a.require(wire.ScopeCheck)(next)
}
