package recipients

import (
	"slices"
	"strings"

	"github.com/hbollon/go-edlib"
)

// wellKnown are the domains of mail providers that many people have an address at,
// the larger one first where two are as near.
var wellKnown = []string{
	"gmail.com", "outlook.com", "hotmail.com", "yahoo.com", "icloud.com", "qq.com", "163.com", "126.com", "sina.com", "foxmail.com",
	"aol.com", "live.com", "msn.com", "googlemail.com", "me.com", "proton.me", "protonmail.com", "zoho.com", "ymail.com",
	"gmx.de", "gmx.net", "gmx.com", "gmx.at", "web.de", "t-online.de", "freenet.de", "hotmail.de", "yahoo.de", "outlook.de",
	"orange.fr", "wanadoo.fr", "free.fr", "laposte.net", "sfr.fr", "hotmail.fr", "yahoo.fr", "outlook.fr",
	"libero.it", "virgilio.it", "hotmail.it", "yahoo.it", "hotmail.es", "yahoo.es", "outlook.es",
	"hotmail.co.uk", "yahoo.co.uk", "btinternet.com", "comcast.net", "verizon.net", "att.net", "sbcglobal.net",
	"uol.com.br", "bol.com.br", "terra.com.br", "hotmail.com.br", "yahoo.com.br", "outlook.com.br", "sapo.pt",
	"mail.ru", "yandex.ru", "yandex.com", "rambler.ru", "ukr.net", "seznam.cz", "wp.pl", "onet.pl", "interia.pl",
	"naver.com", "daum.net", "hanmail.net", "yahoo.co.jp", "docomo.ne.jp", "ezweb.ne.jp", "softbank.ne.jp", "hotmail.com.tr",
	"rediffmail.com", "yahoo.co.in", "hotmail.co.th", "yahoo.com.tw", "yahoo.com.hk", "yahoo.com.mx",
}

// Suggest returns the well-known domain that was probably meant by one that does not
// exist: each part of it is right, or one letter away, as in gmial.con. It is empty
// where there is none.
func Suggest(domain string) string {
	if isWellKnown(domain) { // which is not misspelt
		return ""
	}
	best, bestDistance := "", 3
	for _, known := range wellKnown {
		if distance := distance(domain, known); distance < bestDistance {
			best, bestDistance = known, distance
		}
	}
	return best
}

func isWellKnown(domain string) bool { return slices.Contains(wellKnown, domain) }

// far is the distance of what is no misspelling.
const far = 100

func distance(domain, known string) (sum int) {
	parts, knownParts := strings.Split(domain, "."), strings.Split(known, ".")
	if len(parts) != len(knownParts) {
		return far
	}
	for i, part := range parts {
		d := edlib.OSADamerauLevenshteinDistance(part, knownParts[i])
		isName := i == 0
		if d > 1 || d == 1 && isName && len(knownParts[i]) < 3 { // any two letters are near qq
			return far
		}
		sum += d
	}
	return sum
}
