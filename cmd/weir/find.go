package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// defaultAdmin is where a Weir listens that was told nothing else.
const defaultAdmin = "127.0.0.1:9900"

// adminFlags say which running Weir a command is about.
type adminFlags struct {
	address   string
	config    string
	tokenFile string
}

// bind adds the flags to a command.
func (f *adminFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "admin", "", "address of the admin API: host:port or unix:/path")
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "configuration file whose admin block names the address")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the admin API's token (default $WEIR_TOKEN_FILE)")
}

// client finds the running Weir: --admin, else -c, else $WEIR_ADMIN, else the
// default. It does not connect.
func (f *adminFlags) client() (*client, error) {
	var block adminBlock
	if f.config != "" {
		var err error
		if block, err = readAdminBlock(f.config); err != nil {
			return nil, err
		}
	}
	address, source := f.locate(block)
	token, err := f.token(block)
	if err != nil {
		return nil, err
	}
	return newClient(address, source, token), nil
}

// locate says where the admin API is, and who said so.
func (f *adminFlags) locate(block adminBlock) (address, source string) {
	switch env := os.Getenv("WEIR_ADMIN"); {
	case f.address != "":
		return f.address, "--admin"
	case f.config != "":
		return block.Address, "admin.address of " + f.config
	case env != "":
		return env, "$WEIR_ADMIN"
	default:
		return defaultAdmin, "the default; --admin, -c and $WEIR_ADMIN say otherwise"
	}
}

// token reads the token: of the file that --token-file names, else
// $WEIR_TOKEN_FILE, else the configuration. A file that only the
// configuration names may be unreadable for us: most questions need no token.
func (f *adminFlags) token(block adminBlock) (string, error) {
	path := f.tokenFile
	if path == "" {
		path = os.Getenv("WEIR_TOKEN_FILE")
	}
	if path != "" {
		return readToken(path)
	}
	if block.TokenFile == "" {
		return "", nil
	}
	token, err := readToken(block.TokenFile)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return token, err
}

// readToken reads a bearer token from a file. An empty one would open the
// door it is meant to close, and is an error.
func readToken(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	if token == "" {
		return "", fmt.Errorf("token file %s is empty", path)
	}
	if strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token file %s holds more than one word; want one token", path)
	}
	return token, nil
}
