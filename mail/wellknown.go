package mail

import "slices"

// WellKnown are the domains of mail providers that many people have an address at,
// the larger one first where two are as near.
var WellKnown = []string{
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

// IsWellKnown tells whether a domain is one of them, so that whoever does not find it in DNS
// has trouble with DNS.
func IsWellKnown(domain string) bool { return slices.Contains(WellKnown, domain) }
