package admin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/fairlead-gateway/fairlead/internal/auth"
)

// Files below dataDir of the user that is made when none is configured.
const (
	PasswordFile = "admin-password" // the password in clear text, for the operator to read and remove
	usersFile    = "admin-users"    // the htpasswd line that is checked against
)

// OpenUsers returns who may use the protected endpoints: the configured users, or else the
// user admin with a password that is generated at the first start. Its clear text is
// written once, to dataDir/admin-password (mode 0600), and may be removed: the hash stays.
func OpenUsers(c Config, dataDir string, log *slog.Logger) (*auth.Users, error) {
	users, err := c.Open()
	if err != nil || users != nil {
		return users, err
	}
	path := filepath.Join(dataDir, usersFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := generateUser(dataDir, path); err != nil {
			return nil, fmt.Errorf("admin user: %w", err)
		}
		log.Info("admin password generated", "user", "admin", "file", filepath.Join(dataDir, PasswordFile))
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("admin user: %w", err)
	}
	defer f.Close()
	return auth.ParseHtpasswd(f, path)
}

// generateUser writes the password before its hash: a crash in between makes a new pair.
func generateUser(dataDir, path string) error {
	password := strings.ToLower(rand.Text())
	line, err := auth.Generate("admin", password)
	if err != nil {
		return err
	}
	if err := writeOnce(filepath.Join(dataDir, PasswordFile), password+"\n"); err != nil {
		return err
	}
	return writeOnce(path, line+"\n")
}

func writeOnce(path, text string) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
