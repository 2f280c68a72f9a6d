package decisionapi

import (
	_ "embed"
	"net/http"

	"github.com/labstack/echo/v4"
)

const specificationPath = "/openapi.yaml"

//go:embed openapi.yaml
var openapi []byte

// Specification returns the OpenAPI 3.1 document of this API, in YAML.
func Specification() []byte { return append([]byte(nil), openapi...) }

func (a *api) specification(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/yaml", openapi)
}
