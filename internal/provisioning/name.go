package provisioning

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tokensvc/tokensvc/internal/directory"
)

// nameDigits is how many digits of five bits stand for the user and the device:
// 160 bits, of which nobody finds two that are the same.
const nameDigits = 32

var (
	instanceForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	digitsForm   = regexp.MustCompile(fmt.Sprintf(`^[a-z2-7]{%d}$`, nameDigits))
)

// CheckInstance says what an instance may be called.
func CheckInstance(instance string) error {
	if !instanceForm.MatchString(instance) {
		return errors.New("an instance is 1 to 32 of a-z, 0-9 and dash")
	}
	return nil
}

// Name is what the credential of a user's device is called at Telnyx. Whoever
// makes one looks for the name first, so that one which a crash left behind is
// found again. It tells people who read it that it is ours, and not whose.
func Name(instance, user string, device directory.Device) string {
	hash := sha256.New()
	for _, part := range []string{instance, user, string(device)} {
		// With its length, "ab","c" is not "a","bc".
		hash.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		hash.Write([]byte(part))
	}
	digits := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash.Sum(nil))
	return prefix(instance) + strings.ToLower(digits[:nameDigits])
}

func prefix(instance string) string { return "tokensvc:" + instance + ":" }

// isOurs reports whether Name could have made the name.
func isOurs(instance, name string) bool {
	digits, ok := strings.CutPrefix(name, prefix(instance))
	return ok && digitsForm.MatchString(digits)
}
