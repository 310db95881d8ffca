package providers

import (
	"strconv"
	"strings"
	"testing"

	"logto-email-relay/settings"
	"logto-email-relay/smtp"
)

// What servers and services really say, and where that can be read. The words of
// the hint are those of the setting that has to be changed.
func TestSMTPReplies(t *testing.T) {
	type want struct {
		kind                                    Kind
		quota, suppressed, aboutAddress, filter bool
	}
	var (
		recipient  = want{kind: Recipient}
		elsewhere  = want{kind: Recipient, filter: true} // another server may find it
		content    = want{kind: Content}
		filtered   = want{kind: Content, filter: true}
		operator   = want{kind: Configuration}
		limited    = want{kind: RateLimited}
		spent      = want{kind: RateLimited, quota: true}
		temporary  = want{kind: Temporary}
		oneAddress = want{kind: Temporary, aboutAddress: true}
	)
	const gmail = "https://support.google.com/a/answer/3726730"
	const manual = "https://github.com/ActiveCampaign/smtp-field-manual/tree/master/data/codes"
	const netease = "https://biecuoliao.com/pa/MBRrwEM.html"
	const qq = "https://blog.csdn.net/weixin_31487917/article/details/119692776"
	const ionos = "https://www.ionos.com/help/email/troubleshooting-mail-basicmail-business/error-messages-caused-by-undeliverable-email/"
	const aliyun = "https://help.aliyun.com/document_detail/44499.html"
	const aliyunMail = "http://www.sh-aliyun.com/index.php/Products/detail/cid/0/pid/87.html"
	const exchange = "https://learn.microsoft.com/en-us/troubleshoot/exchange/email-delivery/ndr/non-delivery-reports-in-exchange-online"
	const throttling = "https://learn.microsoft.com/en-us/Exchange/mail-flow-best-practices/continuous-error-throttling-smtp-auth-submissions"
	const postfix = "https://www.postfix.org/postconf.5.html"
	const eximRouter = "https://github.com/Exim/exim/blob/master/src/src/routers/dnslookup.c"
	const exim = "https://www.exim.org/exim-html-current/doc/html/spec_html/ch-access_control_lists.html"
	const sendmail = "https://sources.debian.org/src/sendmail/8.17.1.9-2/cf/m4/proto.m4/"
	const qmail = "https://github.com/notqmail/notqmail/blob/main/qmail-smtpd.c"
	const courier = "https://github.com/svarshavchik/courier/blob/master/courier/courier/submit.C"
	const iredapd = "https://github.com/iredmail/iRedAPD/blob/master/libs/__init__.py"
	const coremail = "https://www.icoremail.vip/support/index.php?cate_id=84&page=8&start=225"
	const bounces263 = "http://bbs.bitscn.com/archiver/tid-160742.html"
	const zoneMTA = "https://github.com/zone-eu/zone-mta/blob/master/config/bounces.txt"
	const sisimai = "https://github.com/sisimai/p5-sisimai/tree/5-stable/lib/Sisimai/Reason"
	const mox = "https://github.com/mjl-/mox/blob/main/smtpserver/server.go"
	const phpBounces = "https://github.com/cfortune/PHP-Bounce-Handler/blob/master/bounce_responses.php"
	const verifying = "https://www.postfix.org/ADDRESS_VERIFICATION_README.html"
	const code = "https://github.com/search?type=code&q="
	const cyberimpact = "https://faq.cyberimpact.com/en/articles/1531"
	const iridis = "https://portal.iridis.uk/knowledgebase.php?id=254"
	const qboxmail = "https://docs.qboxmail.com/en/email-delivery/management/sending-errors"
	const useSend = "https://github.com/usesend/useSend/blob/main/apps/smtp-server/src/server.ts"
	const haraka = "https://github.com/haraka/Haraka/blob/master/connection.js"
	const regru = "https://help.reg.ru/support/hosting/nastroyka-pochty-regru/problemyy/oshibka-sender-rate-overlimitt"
	for _, row := range []struct {
		server string
		at     smtp.Stage
		reply  string
		want
		hint   string
		source string
	}{
		{"MailChannels", smtp.AtDot, "550 5.7.1 [CS] Message blocked. If this is a false positive, please report this to your hosting service provider. See https://console.mailchannels.net/insights/bounce?auid=a2hosting", filtered, "", "https://pastebin.com/BihkfJpV"},
		{"Cisco", smtp.AtRCPT, "550 #5.7.1 Your access to submit messages to this e-mail system has been rejected.", operator, "IP address", "https://headwayapp.co/mxroute-changelog/adjustments-to-outbound-rejections-137432"},
		{"Exchange", smtp.AtRCPT, "550 You are not allowed to connect", operator, "IP address", "https://headwayapp.co/mxroute-changelog/adjustments-to-outbound-rejections-137432"},
		{"Symantec", smtp.AtRCPT, "550 Denied by policy", operator, "policy", "https://knowledge.broadcom.com/external/article/161393/rejection-errors-when-delivering-to-3rd.html"},
		{"Proofpoint Essentials", smtp.AtRCPT, "550 5.7.1 <ada@example.net>: Recipient address rejected: User email address is marked as invalid", recipient, "", "https://www.spambrella.com/faq/email-delivery-error-codes/"},
		{"Strato", smtp.AtDot, "550 5.7.1 Refused by local policy. No SPAM please!", filtered, "", "https://www.strato.de/faq/mail/fehlermeldungen-bei-e-mails/"},
		{"OVH", smtp.AtMAIL, "553 sorry, that domain isn't allowed to be relayed thru this MTA (#5.7.1)", operator, "auth", "https://pastebin.com/1qRkUWBq"},
		{"SurgeMail", smtp.AtRCPT, "550 relaying mail to example.net is not allowed", operator, "auth", sisimai},
		{"spamdyke", smtp.AtRCPT, "554 Refused. Sending to remote addresses (relaying) is not allowed.", operator, "auth", "https://www.spamdyke.org/documentation/README.html"},
		{"Yahoo", smtp.AtMAIL, "553 5.7.2 [TSS09] All messages from 192.0.2.7 will be permanently deferred; Retrying will NOT succeed. See https://postmaster.yahooinc.com/error-codes", operator, "IP address", "https://postmaster.yahooinc.com/error-codes"},
		{"Outlook.com", smtp.AtMAIL, "550 DY-001 (BAY004-MC1F1) Unfortunately, messages from 192.0.2.7 weren't sent. We generally do not accept email from dynamic IP's as they are not typically used to deliver unauthenticated SMTP email to an Internet mail server.", operator, "IP address", "https://sendersupport.olc.protection.outlook.com/pm/troubleshooting.aspx"},
		{"Exim", smtp.AtRCPT, "550 rejected because 192.0.2.7 is in a black list at zen.spamhaus.org", operator, "IP address", "https://github.com/Exim/exim/blob/master/src/src/configure.default"},
		{"Debian's Exim", smtp.AtRCPT, "550 restricted characters in address", elsewhere, "", "https://github.com/hestiacp/hestiacp/issues/4006"},
		{"cPanel", smtp.AtRCPT, "550 Domain acme.example has an outgoing mail suspension. Message discarded.", operator, "account", code + "%22outgoing+mail+suspension%22"},
		{"CommuniGate", smtp.AtRCPT, "452 ada@example.net account is full (quota exceeded)", recipient, "", code + "%22account+is+full+%28quota+exceeded%29%22"},
		{"Exchange Online", smtp.AtDot, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", operator, "fromEmail", "https://github.com/swiftmailer/swiftmailer/issues/1258"},
		{"Exchange Online", smtp.AtDot, "554 5.2.252 SendAsDenied; relay@acme.example not allowed to send as no-reply@acme.example; STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied", operator, "fromEmail", "https://github.com/gophish/gophish/issues/2900"},
		{"Exchange Online", smtp.AtDot, "550 5.2.252 Sender throttled due to continuous send as denied errors", operator, "fromEmail", throttling},
		{"Exchange Online", smtp.AtDot, "550 5.2.251 Sender throttled due to continuous mailbox full errors", operator, "account", throttling},
		{"Exchange Online", smtp.AtDot, "550 5.2.253 Sender throttled due to continuous invalid license errors", operator, "account", throttling},
		{"Exchange Online", smtp.AtDot, "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded", operator, "account", exchange},
		{"Exchange Online", smtp.AtMAIL, "530 5.7.57 Client not authenticated to send mail.", operator, "auth", exchange},
		{"Exchange Online", smtp.AtAUTH, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.", operator, "account", "https://docs.bookyourpto.com/features/smtp-troubleshoot"},
		{"Exchange Online", smtp.AtAUTH, "432 4.3.2 concurrent connection limit exceeded", limited, "maxConnections", "https://techcommunity.microsoft.com/t5/exchange-team-blog/changes-coming-to-the-smtp-authenticated-submission-client/ba-p/607825"},
		{"Exchange Online", smtp.AtDot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", limited, "maxConnections", "https://techcommunity.microsoft.com/t5/exchange-team-blog/changes-coming-to-the-smtp-authenticated-submission-client/ba-p/607825"},
		{"Exchange Online", smtp.AtDot, "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", oneAddress, "", exchange},
		{"Exchange Online", smtp.AtRCPT, "550 5.4.1 Recipient address rejected: Access denied. [DB5EUR01FT064.eop-EUR01.prod.protection.outlook.com]", recipient, "", manual},
		{"Exchange Online", smtp.AtRCPT, "550 5.7.1 Service unavailable; client [192.0.2.7] blocked using zen.spamhaus.org", operator, "IP address", "https://github.com/nodemailer/nodemailer/issues/1089"},
		{"a hosted Exchange", smtp.AtDATA, "550 5.1.0 Sender is not allowed to send from gmail.example (R2)", operator, "fromEmail", "https://github.com/jstedfast/MailKit/issues/1101"},
		{"Exchange Online", smtp.AtRCPT, "550 5.7.606 Access denied, banned sending IP [192.0.2.7]. To request removal from this list please visit https://sender.office.com/", operator, "IP address", manual},
		{"Exchange Online", smtp.AtRCPT, "451 4.7.500 Server busy. Please try again later from [192.0.2.7]. (AS77712344)", temporary, "", manual},
		{"Exchange Online", smtp.AtRCPT, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", operator, "auth", exchange},

		{"Gmail", smtp.AtMAIL, "550-5.4.5 Daily user sending limit exceeded. For more information on Gmail\r\n550 5.4.5 sending limits go to https://support.google.com/a/answer/166852 x1 - gsmtp", spent, "24 hours", gmail},
		{"Gmail", smtp.AtEHLO, "501-5.5.4 HELO/EHLO argument \"PhpStorm 9.0.3\" invalid, closing connection.\r\n501 5.5.4 https://support.google.com/mail/", operator, "set name", "https://github.com/PHPMailer/PHPMailer/issues/1011"},
		{"Gmail", smtp.AtGreeting, "421 4.7.0 Try again later, closing connection.", temporary, "", gmail},
		{"Gmail", smtp.AtRCPT, "450-4.2.1 The user you are trying to contact is receiving mail too quickly.\r\n450 4.2.1 Please resend your message at a later time.", oneAddress, "", gmail},
		{"Gmail", smtp.AtRCPT, "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550-5.1.1 double-checking the recipient's email address for typos or\r\n550 5.1.1 unnecessary spaces.", recipient, "", gmail},
		{"Gmail", smtp.AtRCPT, "550 5.2.1 The email account that you tried to reach is disabled.", recipient, "", gmail},
		{"Cyberimpact", smtp.AtRCPT, "452 4.2.2 Quota exceeded for the current period", spent, "next month", cyberimpact},
		{"Cyberimpact", smtp.AtDot, "452 4.2.2 Quota exceeded for the current period", spent, "next month", cyberimpact},
		{"Cyberimpact", smtp.AtMAIL, "452 4.2.2 Quota exceeded for the current period", spent, "next month", cyberimpact},
		{"Cyberimpact", smtp.AtAUTH, "454 4.7.0 Too many active sessions for user", limited, "maxConnections", cyberimpact},
		{"Cyberimpact", smtp.AtGreeting, "454 4.7.0 Too many active sessions for IP address. Please retry later.", limited, "maxConnections", cyberimpact},
		{"Exchange Online", smtp.AtRCPT, "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.", operator, `"ipv4": true`,
			code + "%22does+not+accept+email+over+IPv6%22"},
		{"Exchange Online", smtp.AtDot, "554 5.2.0 STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded; " +
			"Failed to process message due to a permanent exception", recipient, "", exchange},
		{"Exchange", smtp.AtRCPT, "550 5.1.0 RESOLVER.ADR.RecipNotFound; not found", recipient, "", exchange},
		{"SimpleLogin", smtp.AtRCPT, "550 SL E502 Email not exist", recipient, "", "https://github.com/simple-login/app/blob/master/app/email/status.py"},
		{"GNU Mailutils", smtp.AtRCPT, "550 user: message would exceed maximum mailbox size for this recipient", recipient, "",
			code + "%22would+exceed+maximum+mailbox+size%22"},
		{"Aliyun", smtp.AtRCPT, "526 No data by dns resolve", elsewhere, "", aliyun},
		{"Iridis", smtp.AtRCPT, "550 Recipient domain not found in DNS", elsewhere, "", iridis},
		{"Iridis", smtp.AtDot, "550 MSG-DOM: Envelope-From (acme.example)", operator, "fromEmail", iridis},
		{"Qboxmail", smtp.AtRCPT, "554 5.7.1 <ada@example.org>: Recipient address rejected: err=daily_limit_reached", spent, "24 hours", qboxmail},
		{"Qboxmail", smtp.AtRCPT, "554 5.7.1 <ada@example.org>: Recipient address rejected: err=ip_not_allowed", operator, "IP address", qboxmail},
		{"CSR", smtp.AtDot, "550 5.7.1 [CSR] Our system has detected an unusual amount of unsolicited email originating from your address",
			operator, "its state", "https://thiswebhost.com/support/knowledgebase/554/"},
		{"comail", smtp.AtRCPT, "550 5.7.1 Recipient suppressed", want{kind: Recipient, suppressed: true}, "", "https://comail.at/docs/troubleshooting"},
		{"eYou", smtp.AtMAIL, "554 rbl deny", operator, "IP address", code + "%22rbl+deny%22"},
		{"Sohu", smtp.AtRCPT, "553 5.7.0 IP REJECT", operator, "IP address", code + "%22IP+REJECT%22"},
		{"Postfix", smtp.AtDot, "550 5.5.2 Error: bare <LF> received", content, "", postfix},
		{"useSend", smtp.AtDot, `450 Failed to send email: Failed to send email: {"error":{"code":"FORBIDDEN","message":"Invalid API token"}}`, operator, "auth.pass", useSend},
		{"useSend", smtp.AtDot, `450 Failed to send email: {"error":{"message":"Domain: acme.example of from email is wrong. Use the domain verified by useSend"}}`,
			operator, "fromEmail", useSend},
		{"Forward Email", smtp.AtDot, "550 Alias user does not exist", operator, "its state",
			"https://github.com/forwardemail/forwardemail.net/blob/master/helpers/validate-alias.js"},
		{"a hosting company", smtp.AtRCPT, "550 5.7.1 Su servidor no existe en nuestra lista blanca", operator, "IP address", code + "%22nuestra+lista+blanca%22"},
		{"a hosting company", smtp.AtRCPT, "550 El usuario no tiene una cuenta en este servidor", recipient, "", sisimai},
		{"a hosting company", smtp.AtRCPT, "550 Buzon lleno", recipient, "", sisimai},
		{"Gmail", smtp.AtRCPT, "452 4.2.2 The email account that you tried to reach is over quota.", recipient, "", gmail},
		{"Gmail", smtp.AtDot, "550-5.7.1 [192.0.2.7] The IP you're using to send mail is not authorized to\r\n550-5.7.1 send email directly to our servers.\r\n550 5.7.1 Please use the SMTP relay at your service provider instead.", operator, "IP address", "https://github.com/iredmail/iRedMail/issues/264"},
		{"Gmail", smtp.AtDot, "550-5.7.1 [192.0.2.7] Our system has detected that this message is likely\r\n550 5.7.1 unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked.", filtered, "", gmail},
		{"Gmail", smtp.AtDot, "421-4.7.28 [192.0.2.7] Our system has detected an unusual rate of\r\n421 4.7.28 unsolicited mail originating from your IP address.", limited, "rateLimit", gmail},
		{"Gmail", smtp.AtDot, "552 5.2.3 Your message exceeded Google's message size limits.", filtered, "", gmail},
		{"Postfix", smtp.AtMAIL, "552 5.3.4 Message size exceeds fixed limit", filtered, "", "https://www.postfix.org/postconf.5.html#message_size_limit"},
		{"Workspace relay", smtp.AtMAIL, "550 5.7.1 Invalid credentials for relay [192.0.2.7]. The IP address you've registered in your Google Workspace SMTP Relay service doesn't match the domain of the account this email is being sent from.", operator, "IP address", gmail},
		{"Workspace relay", smtp.AtMAIL, "450 4.2.1 Peak SMTP relay limit exceeded for customer. This is a temporary error.", limited, "rateLimit", gmail},
		{"Workspace relay", smtp.AtMAIL, "550 5.7.1 Daily SMTP relay sending limit exceeded for customer.", spent, "24 hours", gmail},
		{"Workspace relay", smtp.AtRCPT, "421 4.7.0 IP not in whitelist for RCPT domain, closing connection.", operator, "IP address", gmail},

		{"Zoho", smtp.AtDot, "553 Relaying disallowed as no-reply@acme.example", operator, "fromEmail", "https://github.com/mattermost/mattermost/issues/13224"},
		{"Zoho", smtp.AtDot, "550 5.4.6 Unusual sending activity detected. To unblock click here.", operator, "account", "https://github.com/cachethq/cachet/issues/3052"},
		{"Zoho", smtp.AtAUTH, "535 Authentication Failed", operator, "auth.user", "https://github.com/nodemailer/nodemailer/issues/456"},

		{"Yandex", smtp.AtMAIL, "553 5.7.1 Sender address rejected: not owned by auth user.", operator, "fromEmail", "https://github.com/splitbrain/dokuwiki-plugin-smtp/issues/38"},
		{"Yandex", smtp.AtDot, "550 5.7.0 Sender or From header address rejected: not owned by authorized user", operator, "fromEmail", "https://github.com/marlam/msmtp/issues/69"},
		{"Yandex", smtp.AtMAIL, "501 5.1.7 Bad address mailbox syntax.", operator, "fromEmail", "https://github.com/nodemailer/nodemailer/issues/421"},
		{"Yandex", smtp.AtDot, "554 5.7.1 [1] Message rejected under suspicion of SPAM; https://ya.cc/1IrBc 1", filtered, "", manual},

		{"QQ", smtp.AtMAIL, "501 mail from address must be same as authorization user", operator, "fromEmail", "https://github.com/nodeSolidServer/node-solid-server/issues/1281"},
		{"QQ", smtp.AtRCPT, "550 Mailbox not found. http://service.mail.qq.com/", recipient, "", qq},
		{"QQ", smtp.AtRCPT, "501 Bad address syntax. http://service.mail.qq.com/", recipient, "", qq},
		{"QQ", smtp.AtRCPT, "550 Mailbox unavailable or access denied", oneAddress, "", qq},
		{"QQ", smtp.AtMAIL, "550 Ip frequency limited", limited, "rateLimit", qq},
		{"QQ", smtp.AtDot, "550 Mail content denied", filtered, "", qq},
		{"QQ", smtp.AtMAIL, "503 Error: need EHLO and AUTH first !", operator, "auth", qq},
		{"163", smtp.AtMAIL, "553 Local user only,163 smtp5,HdxpCgA3f+63sTNhtiNZDA--.2001S2 1630777785", operator, "fromEmail", "https://github.com/ruanyf/weather-action/issues/5"},
		{"163", smtp.AtMAIL, "553 Mail from must equal authorized user", operator, "fromEmail", "https://github.com/matomo-org/matomo/issues/12426"},
		{"163", smtp.AtAUTH, "451 Requested mail action not taken: too much fail authentication", limited, "auth", netease},
		{"163", smtp.AtGreeting, "421 HL:ICC 163 mx1", limited, "maxConnections", netease},
		{"163", smtp.AtMAIL, "450 MI:DMC 163 smtp1", limited, "rateLimit", netease},
		{"163", smtp.AtMAIL, "451 MI:SFQ 163 smtp1", limited, "rateLimit", netease},
		{"163", smtp.AtMAIL, "450 WM:BLI 163 smtp1", operator, "IP address", netease},
		{"163", smtp.AtDot, "554 DT:SPM 163 smtp1", filtered, "", netease},

		{"Aliyun Direct Mail", smtp.AtMAIL, `436 "MAIL FROM" doesn't conform with authentication [@sm060104] (Auth Account:a@acme.example|Mail Account:b@acme.example)`, operator, "fromEmail", aliyun},
		{"Aliyun Direct Mail", smtp.AtMAIL, "504 Invalid setting: Unsubscribe.LinkType [@sm190211]", operator, "", aliyun},
		{"Aliyun Direct Mail", smtp.AtDot, "552 Monthly sending quota exceeded", spent, "next month", aliyun},
		{"Aliyun Direct Mail", smtp.AtDot, "552 Daily sending quota exceeded", spent, "24 hours", aliyun},
		{"Aliyun Direct Mail", smtp.AtDot, "552 Not enough sending quota", spent, "bought", aliyun},
		{"Aliyun Direct Mail", smtp.AtDot, "551 Main account unavailable", operator, "account", aliyun},
		{"Aliyun Direct Mail", smtp.AtRCPT, "556 The number of RCPTs is over size", content, "", aliyun},
		{"Aliyun Direct Mail", smtp.AtDot, "559 Invalid rcptto", want{kind: Recipient, suppressed: true}, "", aliyun},
		{"Aliyun Direct Mail", smtp.AtDot, "554 Reject by content spam", filtered, "", aliyun},
		{"Aliyun Mail", smtp.AtMAIL, "440 mail from account doesn't conform with authentication", operator, "fromEmail", aliyunMail},
		{"Aliyun Mail", smtp.AtMAIL, "541 This account isn't allowed to send email", operator, "account", aliyunMail},
		{"Aliyun Mail", smtp.AtRCPT, "554 RCPT (account) dosn't exist", recipient, "", aliyunMail},
		{"Aliyun Mail", smtp.AtDot, "551 virus infected mail rejected", filtered, "", aliyunMail},
		{"Tencent exmail", smtp.AtMAIL, "550 Connection frequency limited", limited, "rateLimit", "https://blog.csdn.net/BL_huongzhong/article/details/97502379"},
		{"Tencent exmail", smtp.AtDot, "550 Spam is embedded in the email", filtered, "", "https://blog.csdn.net/BL_huongzhong/article/details/97502379"},
		{"Tencent exmail", smtp.AtRCPT, "550 5.7.1 Client does not have permissions to send as this sender", operator, "fromEmail", "https://github.com/sameersbn/docker-gitlab/issues/1581"},
		{"Tencent exmail", smtp.AtDot, "550 DMARC check failed http://service.mail.qq.com/", operator, "fromEmail", manual},

		{"Brevo", smtp.AtDot, "502 5.7.0 Your SMTP account is not yet activated. Please contact us at contact@brevo.example to request activation", operator, "account", "https://github.com/supabase/agent-skills/issues/133"},
		{"Brevo", smtp.AtAUTH, "535 5.7.0 Invalid login or password", operator, "auth.user", "https://github.com/marcpope/borgbackupserver/issues/16"},
		{"Mailjet", smtp.AtMAIL, "550 Sender not allowed", operator, "fromEmail", "https://smtptester.org/guides/mailjet-smtp-test/"},
		{"Mailjet", smtp.AtMAIL, "550 Sender address rejected", operator, "fromEmail", "https://smtptester.org/guides/mailjet-smtp-test/"},
		{"SMTP2GO", smtp.AtDot, "550-From header sender domain not verified.\r\n550 On your Settings > Sender Domains page verify the sender domain to be allowed to send.", operator, "fromEmail", "https://github.com/PHPMailer/PHPMailer/issues/2683"},
		{"Mailtrap", smtp.AtDot, "550 5.7.0 Requested action not taken: too many emails per second", limited, "rateLimit", "https://github.com/hitobito/hitobito/issues/932"},
		{"Mailtrap", smtp.AtMAIL, "550 5.7.0 Requested action not taken: too many emails per second", limited, "rateLimit", "https://github.com/izmjs/izmjs/issues/26"},
		{"Mailtrap", smtp.AtDATA, "550 5.7.0 Requested action not taken: too many emails per second", limited, "rateLimit", "https://github.com/izmjs/izmjs/issues/26"},
		{"Mailtrap", smtp.AtMAIL, "550 5.7.1 Sending from domain is not allowed", operator, "fromEmail", "https://github.com/mailtrap/mailtrap-docs/blob/main/documentation/email-api-smtp/troubleshooting/sending-from-domain-not-allowed.md"},
		{"Postal", smtp.AtDot, "530 From/Sender name is not valid", operator, "fromEmail", "https://github.com/postalserver/postal/issues/1398"},
		{"Postal", smtp.AtDot, "530 From/Sender domain is not verified", operator, "fromEmail", "https://github.com/postalserver/docs/blob/main/content/3.features/smtp-authentication.md"},

		{"OVH", smtp.AtMAIL, "550 sorry, too many emails (#5.7.1)", limited, "rateLimit", "https://github.com/aschroder/Magento-SMTP-Pro-Email-Extension/issues/94"},
		{"IONOS", smtp.AtRCPT, "550-Requested action not taken: mailbox unavailable\r\n550 Sender address is not allowed.", operator, "fromEmail", "https://www.ionos.de/hilfe/e-mail/allgemeine-themen/wichtige-aenderung-fuer-das-versenden-von-e-mails-mit-abweichender-absenderadresse/"},
		{"IONOS", smtp.AtRCPT, "550-Requested action not taken: mailbox unavailable\r\n550 Failure sending mail. Try again later.", limited, "rateLimit", "https://github.com/nodemailer/nodemailer/issues/1555"},
		{"IONOS", smtp.AtRCPT, "550 Requested action not taken: mailbox unavailable", recipient, "", ionos},
		{"IONOS", smtp.AtRCPT, "550 Quota exceeded", recipient, "", ionos},
		{"IONOS", smtp.AtRCPT, "550 Unknown User", recipient, "", ionos},
		{"IONOS", smtp.AtDot, "554-Transaction failed\r\n554-Reject due to policy restrictions.\r\n554 For explanation visit https://www.ionos.com/help/index.php?id=2425&c=hd", operator, "policy", "https://github.com/homematic-community/hm_email/issues/13"},
		{"IONOS", smtp.AtMAIL, "550-Requested action not taken: mailbox unavailable\r\n550 invalid DNS MX or A/AAAA resource record", operator, "fromEmail", "https://github.com/nodemailer/nodemailer/issues/510"},
		{"STRATO", smtp.AtMAIL, "550 5.7.0 Die verwendete Absenderadresse im Mail From: (no-reply@acme.example) gehoert nicht zu Ihrem authentifizierten STRATO Paket. - B-UADOM", operator, "fromEmail", "https://github.com/Peppermint-Lab/peppermint/issues/207"},
		{"GMX", smtp.AtRCPT, "550-Requested action not taken: mailbox unavailable\r\n550 Reject due to policy restrictions.", operator, "policy", manual},
		{"Fastmail", smtp.AtDot, "551 5.7.1 Not authorised to send from this header address", operator, "fromEmail", "https://github.com/search?type=code&q=%22Not+authorised+to+send+from+this+header+address%22"},
		{"Fastmail", smtp.AtDot, "551 5.7.1 Multiple addresses in a From header is not allowed", operator, "fromEmail", "https://github.com/mealie-recipes/mealie/issues/1887"},
		{"Proton", smtp.AtMAIL, "451 4.0.0 backend: invalid return path: not owned by user", operator, "fromEmail", "https://github.com/ProtonMail/proton-bridge/issues/280"},
		{"Proton", smtp.AtRCPT, "553 5.7.1 <no-reply@acme.example>: Sender address rejected: not logged in", operator, "auth", "https://github.com/home-assistant/core/issues/154774"},
		{"Proton", smtp.AtDot, "554 5.0.0 Error: transaction failed: unknown sender address", operator, "fromEmail", "https://github.com/emersion/hydroxide/issues/173"},
		{"Proton Mail Bridge", smtp.AtDot, "554 5.0.0 Error: transaction failed, blame it on the weather: no such user", operator, "", "https://github.com/ProtonMail/proton-bridge/issues/503"},
		{"Proton", smtp.AtDot, "554 5.0.0 Error: The account is not available in Bridge. Verify the outgoing server settings in your mail client and try again", operator, "account", "https://github.com/frappe/frappe/issues/41429"},

		{"cPanel's Exim", smtp.AtRCPT, "550-Verification failed for <no-reply@acme.example>\r\n550-No Such User Here\r\n550 Sender verify failed", operator, "fromEmail", "https://www.cloudhousetechnologies.com/blog/cpanel-whm-550-sender-verify-failed-fix"},
		{"cPanel's Exim", smtp.AtRCPT, "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", operator, "set name", "https://github.com/jhipster/generator-jhipster/issues/12377"},
		{"cPanel's Exim", smtp.AtMAIL, "550 Access denied - Invalid HELO name (See RFC2821 4.1.3)", operator, "set name", "https://github.com/roundcube/roundcubemail/issues/7316"},
		{"cPanel's Exim", smtp.AtRCPT, `550 "Your IP: 192.0.2.7 : Your domain acme.example is not allowed in header From"`, operator, "IP address", "https://github.com/mbreit/dokku-monit/issues/11"},
		{"Exim", smtp.AtRCPT, "550 smtp auth required", operator, "auth", "https://github.com/mailcow/mailcow/issues/318"},
		{"a mail server", smtp.AtMAIL, "550 Authentication is required for relay", operator, "auth", "https://github.com/4IceG/luci-app-sms-tool-js/issues/45"},
		{"cPanel's Exim", smtp.AtRCPT, "550 Domain acme.example has exceeded the max emails per hour (500/500 (100%)) allowed. Message discarded.", spent, "an hour", "https://my.ultrawebhosting.com/knowledgebase/392/cPanel-Max-Defers-Occurring-for-an-Account.html"},
		{"cPanel's Exim", smtp.AtRCPT, "550 No Such User Here", recipient, "", "https://www.clients.paymonthlyhosting.co.uk/knowledgebase/120/I-cannot-send-or-receive-emails.html"},
		{"Exim", smtp.AtGreeting, "421 Too many concurrent SMTP connections; please try again later.", limited, "maxConnections", exim},
		{"Exim", smtp.AtRCPT, "550 relay not permitted", operator, "auth", "https://github.com/namshi/docker-smtp/issues/77"},
		{"Exim", smtp.AtEHLO, "501 Syntactically invalid EHLO argument(s)", operator, "set name", "https://github.com/zammad/zammad/issues/1719"},
		{"Exim", smtp.AtRCPT, "550-Verification failed for <no-reply@acme.example>\r\n550-The mail server could not deliver the email. The account or domain may not exist, they may be blacklisted.\r\n550 sender verification failed", operator, "", "https://github.com/postalserver/postal/issues/607"},
		{"Exim", smtp.AtRCPT, "550 Unrouteable address", recipient, "", exim},
		{"Exim", smtp.AtRCPT, "451 Temporary local problem - please try later", temporary, "", exim},
		{"Exim", smtp.AtDot, "550 Incorrect sender header (LOCAL)", operator, "fromEmail", "https://github.com/roundcube/roundcubemail/issues/6572"},

		{"Postfix", smtp.AtRCPT, "450 4.1.2 <ada@acme.exmaple>: Recipient address rejected: Domain not found", elsewhere, "", postfix},
		{"Postfix", smtp.AtRCPT, "450 <ada@acme.exmaple>: Recipient address rejected: Domain not found", elsewhere, "", postfix},
		{"Postfix", smtp.AtRCPT, "450 4.1.1 <ada@example.net>: Recipient address rejected: unverified address: Address verification in progress", oneAddress, "", postfix},
		{"Postfix", smtp.AtRCPT, "450 4.2.0 <ada@example.net>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/", oneAddress, "", "https://github.com/schweikert/postgrey"},
		{"Postfix", smtp.AtRCPT, "550 5.1.1 <ada@example.net>: Recipient address rejected: User unknown in virtual mailbox table", recipient, "", postfix},
		{"Postfix", smtp.AtRCPT, "450 4.1.8 <no-reply@acme.exmaple>: Sender address rejected: Domain not found", operator, "fromEmail", postfix},
		{"Postfix", smtp.AtRCPT, "553 5.7.1 <no-reply@acme.example>: Sender address rejected: not owned by user relay", operator, "fromEmail", "https://github.com/docker-mailserver/docker-mailserver/issues/1252"},
		{"Postfix", smtp.AtRCPT, "504 5.5.2 <relay>: Helo command rejected: need fully-qualified hostname", operator, "set name", postfix},
		{"Postfix", smtp.AtRCPT, "504 5.5.2 <ada>: Recipient address rejected: need fully-qualified address", recipient, "", postfix},
		{"Postfix", smtp.AtRCPT, "554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied", operator, "IP address", postfix},
		{"Postfix", smtp.AtRCPT, "454 4.7.1 <ada@example.net>: Relay access denied", operator, "auth", postfix},
		{"Postfix", smtp.AtGreeting, "421 4.7.0 mx.example Error: too many connections from 192.0.2.7", limited, "maxConnections", postfix},
		{"Postfix", smtp.AtRCPT, "450 4.7.1 too much mail", limited, "rateLimit", "https://www.postfix.org/SMTPD_POLICY_README.html"},
		{"Postfix", smtp.AtDot, "450 4.7.1 <END-OF-MESSAGE>: End-of-data rejected: Number messages per hour exceeded. Error:RATE_MSG", spent, "an hour", "https://github.com/rubymonsters/speakerinnen_liste/issues/1357"},
		{"Postfix", smtp.AtDot, "450 4.7.1 <END-OF-MESSAGE>: End-of-data rejected: Sorry, too many requests per time unit", limited, "rateLimit", "https://github.com/goauthentik/authentik/issues/10720"},
		{"Yandex", smtp.AtRCPT, "550 5.7.1 Policy rejection on the target address", recipient, "", "https://yandex.com/support/mail/bounces/yandex/policy-rejection-on-the-target-address.html"},
		{"Rediffmail", smtp.AtRCPT, "540 5.7.1 <ada@example.net>: Recipient address rejected: Your emails has been returned because the intented recipient's email account has been suspended.", recipient, "", "https://github.com/sisimai/p5-sisimai/blob/master/lib/Sisimai/Reason/Suspend.pm"},
		{"Sendmail", smtp.AtRCPT, "525 5.7.13 Disabled recipient address", recipient, "", "https://github.com/sisimai/set-of-emails"},
		{"IMail", smtp.AtDot, "550-REJECTED - Blacklisted URL in message. (acme.example) in [black].\r\n550 See http://lookup.uribl.com.", filtered, "", "https://github.com/sisimai/set-of-emails"},
		{"Haraka", smtp.AtDot, "550 Credential leak detected: never give out your username/password to anyone!", filtered, "", "https://github.com/haraka/Haraka/blob/master/plugins/prevent_credential_leaks.js"},
		{"MXIN", smtp.AtMAIL, "550-5.1.0 MXIN506 MailFrom domain is listed in Spamhaus.", operator, "fromEmail", "https://github.com/sisimai/set-of-emails"},
		{"Outmail", smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: You have exceeded your Outmail quota.", spent, "24 hours", "https://support.prolateral.com/index.php?/knowledgebase/article/187"},
		{"an unknown server", smtp.AtRCPT, "551 Denied for Spam", operator, "policy", "https://blog.mxtoolbox.com/2011/09/"},
		{"Iridis", smtp.AtRCPT, "550 Relay Prohibited", operator, "auth", "https://www.iridis.uk/kb/254"},
		{"Courier", smtp.AtMAIL, "540 TLS not available, but it's required for this connection.", operator, "requireTLS", courier},
		{"Exim", smtp.AtRCPT, "550 Sender rate overlimit - 290.8 / 24h", spent, "24 hours", regru},
		{"Exim", smtp.AtDot, "451 Sender rate overlimit - 31.2 / 1h", spent, "an hour", regru},
		{"Exim", smtp.AtMAIL, "550 Sender rate overlimit - 12.4 / 10m", limited, "rateLimit", regru},
		{"Exim", smtp.AtRCPT, "550 Sender rate exceeds SMTP limit - 41.0 / 5m", limited, "rateLimit", "https://sobrelinux.info/questions/765902/debian-exim4-rate-limits"},
		{"Exim", smtp.AtRCPT, "550 Sender rate exceeds SMTP limit - 41.0 / 1d", spent, "24 hours", "https://sobrelinux.info/questions/765902/debian-exim4-rate-limits"},

		{"Haraka", smtp.AtRCPT, "550 I cannot deliver mail for <ada@example.net>", operator, "auth", haraka},
		{"Haraka", smtp.AtEHLO, "550 EHLO denied", operator, "set name", haraka},
		{"Haraka", smtp.AtRCPT, "550 5.1.1 No such user", recipient, "", "https://github.com/haraka/haraka-dsn/blob/master/index.js"},
		{"Sendmail", smtp.AtRCPT, "550 5.7.1 <ada@example.net>... Relaying denied. IP name lookup failed [192.0.2.7]", operator, "auth", "https://github.com/nodemailer/nodemailer/issues/190"},
		{"Courier", smtp.AtMAIL, "517-Domain does not exist: acme.example.\r\n517 Invalid domain, see <URL:https://www.ietf.org/rfc/rfc1035.txt>", operator, "fromEmail", courier},
		{"Sendmail", smtp.AtMAIL, "553 5.1.8 <no-reply@acme.exmaple>... Domain of sender address no-reply@acme.exmaple does not exist", operator, "fromEmail", sendmail},
		{"Sendmail", smtp.AtRCPT, "550 5.1.1 <ada@example.net>... User unknown", recipient, "", sendmail},
		{"Sendmail", smtp.AtRCPT, "550 5.1.2 <ada@acme.exmaple>... Host unknown (Name server: acme.exmaple: host not found)", recipient, "", sendmail},
		{"qmail", smtp.AtRCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", operator, "auth", qmail},
		{"qmail", smtp.AtRCPT, "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)", operator, "fromEmail", qmail},
		{"qmail", smtp.AtRCPT, "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)", recipient, "", "https://www.interazioni.it/opensource/chkuser/"},
		{"qmail", smtp.AtRCPT, "550 sorry, no mailbox here by that name (#5.1.1)", recipient, "", qmail},
		{"OpenSMTPD", smtp.AtMAIL, "452 4.5.3 Too many recipients: Too many messages sent", limited, "rateLimit", "https://github.com/OpenSMTPD/OpenSMTPD/blob/master/usr.sbin/smtpd/smtp_session.c"},
		{"OpenSMTPD", smtp.AtMAIL, "530 5.5.1 Invalid command: Must issue an AUTH command first", operator, "auth", "https://github.com/OpenSMTPD/OpenSMTPD/blob/master/usr.sbin/smtpd/smtp_session.c"},
		{"OpenSMTPD", smtp.AtRCPT, "550 Invalid recipient", recipient, "", "https://github.com/OpenSMTPD/OpenSMTPD/blob/master/usr.sbin/smtpd/smtp_session.c"},
		{"Stalwart", smtp.AtRCPT, "452 4.2.2 Greylisted", oneAddress, "", "https://stalw.art/docs/spamfilter/greylist"},

		{"Exchange Online", smtp.AtAUTH, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled. [BN9PR03CA0001.namprd03.prod.outlook.com]", operator, "oauth2", throttling},
		{"Exchange Online", smtp.AtMAIL, "451 5.7.3 STARTTLS is required to send mail [BN8NAM11FT001.eop-nam11.prod.protection.outlook.com]", operator, "requireTLS", code + "%22451+5.7.3+STARTTLS+is+required+to+send+mail%22"},
		{"Exchange Online", smtp.AtDot, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception with message The message can't be submitted because the sender's submission quota was exceeded.", spent, "24 hours", "https://github.com/MicrosoftDocs/OfficeDocs-Support/issues/1150"},
		{"Exchange Online", smtp.AtDot, "550 5.7.501 Service unavailable. Access denied, spam abuse detected", operator, "account", exchange},
		{"Exchange Online", smtp.AtDot, "550 5.7.705 Service unavailable. Access denied, tenant has exceeded threshold", operator, "account", exchange},
		{"Exchange Online", smtp.AtRCPT, "550 5.7.511 Access denied, banned sender[192.0.2.7]. To request removal from this list please forward this message to delist@microsoft.example.", operator, "IP address", exchange},
		{"Exchange", smtp.AtGreeting, "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel", limited, "maxConnections", code + "%22maximum+number+of+concurrent+server+connections%22"},
		{"Exchange", smtp.AtMAIL, "421 4.4.2 Message submission rate for this client has exceeded the configured limit", limited, "rateLimit", "https://learn.microsoft.com/en-us/exchange/mail-flow/message-rate-limits"},
		{"Gmail", smtp.AtDot, "550 5.7.1 Email quota exceeded.", spent, "24 hours", gmail},
		{"Gmail", smtp.AtDot, "421-4.7.26 This mail has been rate limited because it is unauthenticated. Gmail\r\n421-4.7.26 requires all senders to authenticate with either SPF or DKIM.", operator, "domain", gmail},
		{"Gmail", smtp.AtDot, "421-4.7.23 Your email has been rate limited because the sending IP address doesn't have a PTR record", operator, "PTR record set", gmail},
		{"Postfix", smtp.AtRCPT, "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.7]", operator, "PTR record set", postfix},
		{"Postfix", smtp.AtRCPT, "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.7]", operator, "PTR record set", postfix},
		{"GMX", smtp.AtGreeting, "554-gmx.net Nemesis ESMTP Service not available\r\n554-No SMTP service\r\n554-Bad DNS PTR resource record.", operator, "PTR record set", "https://postmaster.gmx.net/en/error-messages"},
		{"Gmail", smtp.AtDot, "550 5.7.25 The IP address sending this message does not have a PTR record setup", operator, "PTR record set", gmail},
		{"Gmail", smtp.AtDot, "421-4.7.29 Your email has been rate limited because this message wasn't sent over a TLS connection.", operator, "requireTLS", gmail},
		{"Gmail", smtp.AtDot, "550-5.7.1 The user or domain that you are sending to (or from) has a policy that\r\n550 5.7.1 prohibited the mail that you sent.", operator, "policy", gmail},
		{"Yahoo", smtp.AtDot, "554 delivery error: dd Sorry your message to ada@example.net cannot be delivered. This account has been disabled or discontinued [#102].", recipient, "", bounces263},
		{"Yandex", smtp.AtRCPT, "451 4.5.1 The recipient <ada@example.net> has exceeded their message rate limit", oneAddress, "", code + "%22has+exceeded+their+message+rate+limit%22+4.5.1"},
		{"Mail.ru", smtp.AtDot, "550 not local sender over smtp", operator, "fromEmail", code + "%22not+local+sender+over+smtp%22"},
		{"QQ", smtp.AtAUTH, "535 Login fail. Account is abnormal, service is not open, password is incorrect, login frequency limited, or system is busy. More information at https://help.mail.qq.com/detail/108/1023", operator, "app password", code + "%22password+is+incorrect%2C+login+frequency+limited%22"},
		{"QQ", smtp.AtAUTH, "530 Login fail. A secure connection is requiered(such as ssl). More information at http://service.mail.qq.com/cgi-bin/help?id=28", operator, "requireTLS", "https://github.com/lx1169732264/zdm/issues/3"},
		{"QQ", smtp.AtDot, `550 The "From" header is missing or invalid. Please follow RFC5322, RFC2047, RFC822 standard protocol. https://service.mail.qq.com/detail/124/995.`, operator, "fromEmail", code + "%22header+is+missing+or+invalid.+Please+follow+RFC5322%22"},
		{"QQ", smtp.AtAUTH, "535 Login Fail. Please enter your authorization code to login. More information in https://service.mail.qq.com/detail/0/53", operator, "app password", code + "%22Please+enter+your+authorization+code+to+login%22"},
		{"Mail.ru", smtp.AtAUTH, "535 5.7.0 NEOBHODIM parol prilozheniya https://help.mail.ru/mail/security/protection/external / Application password is REQUIRED", operator, "app password", code + "%22parol+prilozheniya%22"},
		{"163", smtp.AtMAIL, "550 MI:NHD 163 smtp1", operator, "set name", netease},
		{"163", smtp.AtDot, "554 DT:SUM 163 smtp1", operator, "fromEmail", netease},
		{"163", smtp.AtRCPT, "451 RP:QRC 163 smtp1", limited, "rateLimit", netease},
		{"163", smtp.AtRCPT, "550 RP:TRC 163 smtp1", limited, "rateLimit", netease},
		{"163", smtp.AtRCPT, "550 Invalid User", recipient, "", netease},
		{"163", smtp.AtDot, "550 send spam mail rejected: exceeded hour limit", spent, "an hour", "https://github.com/gophish/gophish/issues/3231"},
		{"Exchange Online", smtp.AtRCPT, "550 5.2.122 The recipient is over the limit for messages of the hour", oneAddress, "", exchange},
		{"Exchange Online", smtp.AtRCPT, "451 4.7.652 The mail server [192.0.2.7] has exceeded the maximum number of connections.", limited, "maxConnections", code + "%22has+exceeded+the+maximum+number+of+connections%22"},
		{"QQ", smtp.AtRCPT, "550 The recipient may contain a non-existent account, please check the recipient address.", recipient, "", "https://service.mail.qq.com/detail/122/166"},
		{"263", smtp.AtRCPT, "550 This target address is not our MX service client.", recipient, "", bounces263},
		{"Coremail", smtp.AtRCPT, "550 unavailable mail user", recipient, "", coremail},
		{"Coremail", smtp.AtRCPT, "550 recipient does not have an account", recipient, "", coremail},
		{"Coremail", smtp.AtRCPT, "550 not user of this server", recipient, "", coremail},
		{"Coremail", smtp.AtRCPT, "550 mailbox currently unavailable", recipient, "", coremail},
		{"Coremail", smtp.AtMAIL, "554 Requested mail action not taken: Invalid IP", operator, "IP address", coremail},

		{"Amazon SES", smtp.AtDot, "554 Message rejected: Address blacklisted.", want{kind: Recipient, suppressed: true}, "", "https://github.com/emencia/emencia-django-newsletter/issues/61"},
		{"Amazon SES", smtp.AtDot, "554 Configuration set <logins> does not exist", operator, "account", code + "%22Configuration+set+does+not+exist%22+ses"},
		{"Mailgun", smtp.AtDot, "550 5.7.1 Domain acme.example is not allowed to send: The domain is unverified and requires DNS configuration. Log in to your control panel to view required DNS records.", operator, "fromEmail", code + "%22domain+is+unverified+and+requires+DNS%22"},
		{"MailerSend", smtp.AtDot, "450 The from.email domain must be verified in your account to send emails. #MS42207", operator, "fromEmail", code + "%22in+your+account+to+send+emails.+%23MS42207%22"},
		{"Mailtrap", smtp.AtDot, "550 5.7.1 Demo domains can only be used to send emails to account owners", operator, "fromEmail", code + "%22Demo+domains+can+only+be+used%22"},
		{"Postmark", smtp.AtDot, "550 5.7.1 The 'From' address you supplied (no-reply@acme.example) is not a Sender Signature on your account.", operator, "fromEmail", "https://postmarkapp.com/developer/api/overview"},
		{"SendGrid", smtp.AtRCPT, "452 Too many recipients received this hour", spent, "an hour", "https://www.twilio.com/docs/sendgrid/for-developers/sending-email/smtp-errors-and-troubleshooting"},
		{"Mimecast", smtp.AtMAIL, "550 Exceeding outbound thread limit - https://community.mimecast.com/docs/DOC-1369#550 [abc]", limited, "maxConnections", code + "%22exceeding+outbound+thread+limit%22"},
		{"Proofpoint", smtp.AtRCPT, "550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.7", operator, "IP address", code + "%22ipcheck.proofpoint.com%22"},
		{"IONOS", smtp.AtMAIL, "451-Requested action aborted\r\n451 Mails per session limit", limited, "rateLimit", "https://github.com/terminal42/contao-notification_center/issues/226"},
		{"IONOS", smtp.AtRCPT, "450-Requested mail action not taken: mailbox unavailable\r\n450 Mail send limit exceeded", spent, "24 hours", code + "%22Mail+send+limit+exceeded%22+450"},
		{"DreamHost", smtp.AtRCPT, "450 4.7.1 <ada@example.net>: Recipient address rejected: Policy Rejection- Quota Exceeded.", spent, "24 hours", "https://help.dreamhost.com/hc/en-us/articles/215730467-SMTP-quota-overview"},
		{"GoDaddy", smtp.AtRCPT, "550 5.2.0 <no-reply@acme.example> From: Domain is invalid. Please provide a valid From: IB506 <http://x.co/srbounce>", operator, "fromEmail", "https://github.com/postalserver/postal/issues/342"},

		{"cPanel's Exim", smtp.AtRCPT, "550-Verification failed for <no-reply@acme.example>\r\n550-The mail server could not deliver mail to no-reply@acme.example.  The account or\r\n550-domain may not exist, they may be blacklisted, or missing the proper dns\r\n550-entries.\r\n550 Sender verify failed", operator, "fromEmail", "https://github.com/mailcow/mailcow-dockerized/issues/1644"},
		{"cPanel's Exim", smtp.AtRCPT, "550-The mail server could not deliver mail to ada@example.net.  The account or\r\n550-domain may not exist, they may be blacklisted, or missing the proper dns\r\n550 entries.", recipient, "", "https://www.clients.paymonthlyhosting.co.uk/knowledgebase/120/I-cannot-send-or-receive-emails.html"},
		{"cPanel's Exim", smtp.AtRCPT, `550 "JunkMail rejected - relay.acme.example [192.0.2.7]:24706 is in an RBL: Blocked - see https://www.spamcop.net/bl.shtml?192.0.2.7"`, operator, "IP address", "https://github.com/zone-eu/zone-mta/pull/251"},
		{"a mail server", smtp.AtRCPT, "554 5.7.1 Rejected because Bad IP", operator, "IP address", "https://github.com/zone-eu/zone-mta/pull/239"},
		{"Comcast", smtp.AtDot, "550 Your message could not be delivered due to too many invalid recipients", limited, "addresses that do not exist", sisimai},
		{"GoDaddy", smtp.AtDot, "554 Your email was rejected for having too many invalid recipients. <http://x.co/srbounce> 1560", limited, "addresses that do not exist", manual},
		{"a mail server", smtp.AtRCPT, "550 Too many invalid recipients", limited, "addresses that do not exist", zoneMTA},
		{"a mail server", smtp.AtRCPT, "551 5.7.1 we do not relay", operator, "auth", code + "551+we+do+not+relay"},
		{"Citadel", smtp.AtRCPT, "551 5.7.1 <ada@example.org> - you do not have permission to send Internet mail", operator, "operator", code + "%22you+do+not+have+permission+to+send+Internet+mail%22"},
		{"ImprovMX", smtp.AtRCPT, "551 5.7.1 Loop detected: Email is sent and forwarded from/to improvmx.com. (#id-5.9.0)", operator, "operator", manual},
		{"Yandex", smtp.AtRCPT, "551 5.3.0 Unknown error", operator, "", manual},
		{"a server that forwards", smtp.AtRCPT, "551 User not local; please try <ada@example.com>", recipient, "", "https://www.rfc-editor.org/rfc/rfc5321#section-3.4"},
		{"Mailgun", smtp.AtDot, "421 Domain mg.acme.example is not allowed to send: Please activate your Mailgun account. Check your inbox or log in to your control panel to resend the activation email.", operator, "state", "https://github.com/rebutify/rebutify/issues/162"},
		{"hMailServer", smtp.AtRCPT, "550 The address is not valid.", recipient, "", code + "%22550+The+address+is+not+valid%22"},
		{"La Poste", smtp.AtRCPT, "550 5.5.0 Boite du destinataire archivee. Archived recipient.", recipient, "", sisimai},
		{"a mail server", smtp.AtRCPT, "550 unknown mailbox", recipient, "", sisimai},
		{"a mail server", smtp.AtRCPT, "550 error: no valid recipients from 192.0.2.7", operator, "", sisimai},
		{"a mail server", smtp.AtRCPT, "550 there is no one at this address", recipient, "", sisimai},
		{"a mail server", smtp.AtRCPT, "550 this email address is wrong or no longer valid", recipient, "", sisimai},
		{"Postfix", smtp.AtRCPT, "450 4.7.1 <ada@example.net>: Recipient address rejected: come back later", oneAddress, "", postfix},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: mail to remote hosts not possible", operator, "", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: host mx.example.org[192.0.2.9] said: 554 5.7.1 Service unavailable; Client host [198.51.100.1] blocked using zen.spamhaus.org (in reply to RCPT TO command)", oneAddress, "IP address", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: host mx.example.org[192.0.2.9] said: 500 5.7.1 Client host [198.51.100.1] blocked (in reply to MAIL FROM command)", oneAddress, "IP address", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: host mx.example.org[192.0.2.9] said: 554 Your access to this mail system has been rejected due to the sending MTA's poor reputation. (in reply to MAIL FROM command)", oneAddress, "IP address", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: host mx.example.org[192.0.2.9] said: 550 5.1.1 <ada@example.org>: user unknown (in reply to RCPT TO command)", recipient, "", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "450 4.1.1 <ada@example.org>: Recipient address rejected: unverified address: host mx.example.org[192.0.2.9] said: 450 4.2.0 Greylisted (in reply to RCPT TO command)", oneAddress, "", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: connect to mx.example.org[192.0.2.9]:25: Connection refused", oneAddress, "", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "450 4.1.1 <ada@example.org>: Recipient address rejected: unverified address: host mx.example.org[192.0.2.9] said: 421 4.7.0 Try again later (in reply to MAIL FROM command)", oneAddress, "", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "450 4.1.1 <ada@example.org>: Recipient address rejected: unverified address: TLS is required, but was not offered by host mx.example.org[192.0.2.9]", oneAddress, "", verifying},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: host mx.example.org[192.0.2.9] refused to talk to me: 554 5.7.1 Client host [198.51.100.1] blocked", oneAddress, "IP address", verifying},
		{"GMX", smtp.AtRCPT, "550-Requested action not taken: mailbox unavailable\r\n550 invalid DNS MX or A/AAAA resource record", elsewhere, "", "https://github.com/nodemailer/nodemailer/issues/548"},
		{"T-Online", smtp.AtGreeting, "554 IP=192.0.2.7 - A problem occurred. (Ask your postmaster for help or to contact tosa@rx.t-online.de to clarify.) (BL)", operator, "IP address", zoneMTA},
		{"an IronPort", smtp.AtRCPT, "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.", operator, "IP address", zoneMTA},
		{"Exim", smtp.AtRCPT, "501 ada: recipient address must contain a domain", recipient, "", exim},
		{"Postfix with policyd", smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: Policy rejection; Message count quota exceeded", spent, "24 hours", code + "%22Policy+rejection%3B+Message+count+quota+exceeded%22"},
		{"Yahoo and AT&T", smtp.AtDot, "550 Request failed; Mailbox unavailable", operator, "fromEmail", "https://github.com/mattermost/mattermost/issues/13652"},
		{"Resend", smtp.AtDot, "450 You can only send testing emails to your own email address (o@acme.example). To send emails to other recipients, please verify a domain at resend.com/domains", operator, "fromEmail", "https://resend.com/docs/api-reference/errors"},
		{"Resend", smtp.AtDot, "450 Not authorized to send emails from acme.example", operator, "fromEmail", "https://resend.com/docs/api-reference/errors"},
		{"mox", smtp.AtDot, "451 4.7.1 max number of new/first-time recipients (200) over past 24h reached, try increasing per-account setting MaxFirstTimeRecipientsPerDay", spent, "24 hours", mox},
		{"mox", smtp.AtRCPT, "550 5.1.1 not accepting email for domain", operator, "auth", mox},
		{"an old server", smtp.AtRCPT, "550 User is unknown", recipient, "", phpBounces},
		{"an old server", smtp.AtRCPT, "550 Account not found", recipient, "", phpBounces},
		{"an old server", smtp.AtRCPT, "550 Address invalid", recipient, "", phpBounces},
		{"an old server", smtp.AtRCPT, "550 no such email address", recipient, "", phpBounces},
		{"an old server", smtp.AtRCPT, "550 unknown or illegal user: ada@example.net", recipient, "", phpBounces},
		{"an old server", smtp.AtRCPT, "550 Unknown local part ada in <ada@example.net>", recipient, "", phpBounces},
		{"an old server", smtp.AtRCPT, "550 no relaying allowed", operator, "auth", phpBounces},
		{"a filter", smtp.AtRCPT, "550 5.7.1 This system is configured to reject mail from mta.example.com. Connecting host [192.0.2.7] is listed by the lookup site 'zen.spamhaus.org.'", operator, "IP address", zoneMTA},
		{"Stalwart", smtp.AtDot, "550 5.7.29 ARC validation failed.", operator, "fromEmail", "https://www.rfc-editor.org/rfc/rfc8617#section-10.2"},
		{"Stalwart", smtp.AtDot, "503 5.5.3 Message rejected.", filtered, "", "https://github.com/stalwartlabs/stalwart/blob/main/crates/smtp/src/inbound/mod.rs"},
		{"maddy", smtp.AtMAIL, "451 4.7.23 SPF authentication failed with a temporary error", operator, "fromEmail", "https://www.rfc-editor.org/rfc/rfc7372#section-3.2"},
		{"maddy", smtp.AtRCPT, "550 5.7.25 rDNS name does not match source hostname", operator, "PTR", "https://www.rfc-editor.org/rfc/rfc7372#section-3.3"},
		{"rspamd", smtp.AtDot, "554 5.7.1 ICAP: threat found with icap scanner", filtered, "", "https://docs.rspamd.com/modules/antivirus/"},
		{"Apache James", smtp.AtDot, "554 5.7.0 Rejected: message contains domain acme.example listed by multi.surbl.org", filtered, "", "https://github.com/apache/james-project/blob/master/server/protocols/protocols-smtp/src/main/java/org/apache/james/smtpserver/fastfail/URIRBLHandler.java"},
		{"Postal", smtp.AtAUTH, "535 Mail server has been suspended", operator, "account", "https://github.com/postalserver/postal/blob/main/app/lib/smtp_server/client.rb"},
		{"hMailServer", smtp.AtMAIL, "530 A SSL/TLS-connection is required for authentication.", operator, "requireTLS", "https://github.com/hmailserver/hmailserver/blob/master/hmailserver/source/Server/SMTP/SMTPConnection.cpp"},
		{"a university", smtp.AtRCPT, "550 5.7.1 Only authenticated users that have an account here may send", operator, "auth", code + "%22Only+authenticated+users%22"},
		{"Proton Mail Bridge", smtp.AtAUTH, "454 4.7.0 no such user", operator, "auth.user", "https://github.com/ProtonMail/proton-bridge/issues/503"},
		{"Proton Mail Bridge", smtp.AtAUTH, "454 4.7.0 invalid username or password", operator, "auth.pass", "https://github.com/emersion/go-smtp/blob/master/conn.go"},
		{"maddy", smtp.AtAUTH, "454 4.7.0 Invalid credentials", operator, "auth.pass", "https://github.com/emersion/go-smtp/blob/master/conn.go"},
		{"Resend", smtp.AtDot, "450 API key is invalid", operator, "auth.pass", "https://resend.com/docs/api-reference/errors"},
		{"MailerSend", smtp.AtRCPT, "450 The from.email must be verified. #MS42207", operator, "fromEmail", "https://www.mailersend.com/help/smtp-relay"},
		{"MailerSend", smtp.AtDot, "450 You have reached your email limit. #MS42222", spent, "24 hours", "https://www.mailersend.com/help/smtp-relay"},
		{"MailerSend", smtp.AtDot, "450 Trial accounts can only send emails to the administrator's email. #MS42225", operator, "fromEmail", "https://www.mailersend.com/help/smtp-relay"},
		{"Elastic Email", smtp.AtDot, "550 Insufficient credit", spent, "bought", "https://github.com/search?type=code&q=%22Insufficient+credit%22+smtp"},
		{"Gmail", smtp.AtDot, "421 4.7.28 Gmail has detected this message exceeded its quota for sending messages with the same Message-ID:. To best protect our users, the message has been temporarily rejected.", limited, "rateLimit", gmail},
		{"Cox", smtp.AtGreeting, "421 dukecmfep03 cmsmtp 192.0.2.7 blocked. Error Code: IPBL0001", operator, "IP address", "https://www.cox.com/residential/support/email-error-codes.html"},
		{"QQ", smtp.AtDot, "550 Suspected spam ip http://service.mail.qq.com/", operator, "IP address", qq},
		{"QQ", smtp.AtRCPT, "550 <ada@example.net> is a deactivated mailbox http://service.mail.qq.com/", recipient, "", qq},
		{"Coremail", smtp.AtRCPT, "550 User suspended: ada@example.net", recipient, "", coremail},
		{"GoDaddy", smtp.AtRCPT, "554 This IP has been temporarily blocked for attempting to send too many messages containing content judged to be spam by the Internet community. IB110", operator, "IP address", "https://www.godaddy.com/help/fix-rejected-email-with-a-bounce-error-40685"},
		{"GoDaddy", smtp.AtRCPT, "552 Account storage limit", recipient, "", "https://www.godaddy.com/help/fix-rejected-email-with-a-bounce-error-40685"},
		{"Zoho", smtp.AtRCPT, "552 User storage exceeded maximum limits", recipient, "", "https://www.zoho.com/mail/help/smtp-errors.html"},
		{"Yahoo", smtp.AtDot, "554 delivery error: dd ada@yahoo.example is no longer valid. [-20]", recipient, "", sisimai},
		{"qmail", smtp.AtRCPT, "553 sorry, badrcptto (#5.1.1)", recipient, "", sisimai},
		{"qmail", smtp.AtRCPT, "550 this recipient is not in my validrcptto list", recipient, "", sisimai},
		{"a server", smtp.AtRCPT, "550 mailbox has exceeded its disk space limit", recipient, "", sisimai},
		{"a server", smtp.AtRCPT, "550 user is over the quota", recipient, "", sisimai},
		{"a service", smtp.AtDot, "550 5.7.0 Project does not exist", operator, "", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"Mailtrap", smtp.AtDot, "550 5.7.0 Too many emails per second. Please upgrade your plan https://mailtrap.io/billing/plans/testing", limited, "rateLimit", code + "%22Too+many+emails+per+second%22+mailtrap"},
		{"Google Workspace", smtp.AtRCPT, "550-5.7.0 Mail relay denied [192.0.2.7]. Invalid credentials for relay for one of the\r\n550-5.7.0 domains in: acme.example, relay.acme.example (as obtained from HELO and MAIL\r\n550 5.7.0 FROM).", operator, "IP address", "https://support.google.com/a/answer/6140680"},
		{"Exchange Online", smtp.AtAUTH, "550 5.7.30 Basic authentication is not supported for Client Submission.", operator, "oauth2", "https://techcommunity.microsoft.com/blog/exchange/exchange-online-to-retire-basic-auth-for-client-submission-smtp-auth/4114750"},
		{"Postfix with policyd", smtp.AtRCPT, "450 4.7.1 <ada@example.net>: Recipient address rejected: Policy Rejection- Please try later.", oneAddress, "", code + "%22Policy+Rejection-+Please+try+later%22"},
		{"Earthlink", smtp.AtRCPT, "550 ada@example.net...User unknown", recipient, "", sisimai},
		{"Exim", smtp.AtRCPT, "550-It appears that the DNS operator for example.net\r\n550-has installed an invalid MX record with an IP address\r\n550 instead of a domain name on the right hand side.", elsewhere, "", eximRouter},
		{"Exim", smtp.AtRCPT, "550 all relevant MX records point to non-existent hosts or (invalidly) to IP addresses", elsewhere, "", eximRouter},
		{"Exim", smtp.AtRCPT, "550-Verification failed for <no-reply@acme.example>\r\n550-all relevant MX records point to non-existent hosts\r\n550 Sender verify failed", operator, "sender", eximRouter},
		{"Exim", smtp.AtRCPT, "550 an MX or SRV record indicated no SMTP service", elsewhere, "", eximRouter},
		{"Postfix that asks for the sender", smtp.AtRCPT, "550 5.1.7 <no-reply@acme.example>: Sender address rejected: undeliverable address: host mx.acme.example[192.0.2.1] said: 550 5.1.1 <no-reply@acme.example>: Recipient address rejected: User unknown in local recipient table (in reply to RCPT TO command)", operator, "fromEmail", "https://www.postfix.org/ADDRESS_VERIFICATION_README.html"},
		{"Postfix that asks for the sender", smtp.AtRCPT, "450 4.1.7 <no-reply@acme.example>: Sender address rejected: undeliverable address: host mx.acme.example[192.0.2.1] said: 550 5.1.1 <no-reply@acme.example>: Recipient address rejected: User unknown in local recipient table (in reply to RCPT TO command)", operator, "fromEmail", "https://www.postfix.org/ADDRESS_VERIFICATION_README.html"},
		{"Postfix whose question is refused", smtp.AtRCPT, "550 5.1.1 <ada@example.net>: Recipient address rejected: undeliverable address: host mx.example.net[192.0.2.1] said: 550-Verification failed for <double-bounce@relay.isp.example> 550-No Such User Here 550 Sender verify failed (in reply to RCPT TO command)", oneAddress, "", "https://www.postfix.org/ADDRESS_VERIFICATION_README.html"},
		{"o2.pl", smtp.AtRCPT, "504 mailbox is disabled", recipient, "", "https://github.com/sympa-community/sympa/tree/sympa-6.2/t/samples"},
		{"a mail server", smtp.AtRCPT, "554 5.4.4 no MX for example.net", elsewhere, "", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"a mail server", smtp.AtRCPT, "451 Unable to resolve domain example.net", oneAddress, "", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"a mail server", smtp.AtRCPT, "550 5.2.1 Sender account suspended", operator, "fromEmail", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"GMX", smtp.AtRCPT, "450-Requested action not taken: mailbox unavailable\r\n450 invalid DNS MX or A/AAAA resource record", oneAddress, "", "https://github.com/nodemailer/nodemailer/issues/548"},
		{"GMX", smtp.AtRCPT, "550 5.1.8 invalid DNS MX or A/AAAA resource record", operator, "fromEmail", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"a mail server", smtp.AtDot, "554 5.7.1 From: unknown domain", operator, "", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"iCloud", smtp.AtMAIL, "421 [HCM1] Your mail from 192.0.2.7 was deferred", operator, "IP address", "https://github.com/KumoCorp/kumomta/blob/main/assets/community/shaping.toml"},
		{"Yahoo", smtp.AtMAIL, "553 Mail from 192.0.2.7 not allowed - VS98-IP0 deferred", operator, "IP address", "https://github.com/KumoCorp/kumomta/blob/main/assets/community/shaping.toml"},
		{"Postfix with anvil", smtp.AtRCPT, "450 4.7.1 Error: too much mail from 192.0.2.7", limited, "rateLimit", "https://www.postfix.org/postconf.5.html#smtpd_client_message_rate_limit"},
		{"Haraka with delay_deny", smtp.AtRCPT, "550 No MX for your FROM address", operator, "fromEmail", "https://github.com/haraka/haraka-plugin-mail_from.is_resolvable"},
		{"Haraka with delay_deny", smtp.AtRCPT, "450 No MX for your FROM address", operator, "fromEmail", "https://github.com/haraka/haraka-plugin-mail_from.is_resolvable"},
		{"a mail server", smtp.AtRCPT, "550 5.7.1 Helo command rejected: unable to resolve domain", operator, "name", postfix},
		{"a mail server", smtp.AtRCPT, "550 relaying denied, unknown domain", operator, "rights", postfix},
		{"GMX", smtp.AtRCPT, "550 Sender address: invalid DNS MX or A/AAAA resource record", operator, "fromEmail", "https://postmaster.gmx.com/en/error-messages"},
		{"Exim", smtp.AtRCPT, "450 Unable to resolve the IP address of the following domain: example.net", oneAddress, "", eximRouter},
		{"a server with a name", smtp.AtRCPT, "550 mx2.password-reset.example.net: User unknown", recipient, "", "https://www.rfc-editor.org/rfc/rfc5321"},
		{"a server with a name", smtp.AtMAIL, "421 mail.dailypost.example Service not available, closing transmission channel", temporary, "", "https://www.rfc-editor.org/rfc/rfc5321"},
		{"a server with a name", smtp.AtMAIL, "421 mx.thelodge.example Service not available, closing transmission channel", temporary, "", "https://www.rfc-editor.org/rfc/rfc5321"},
		{"Rackspace", smtp.AtRCPT, "450 4.4.1 <ada@example.net>: The recipient's server was temporarily unavailable to accept your message (G6)", oneAddress, "", "https://smtp.codes/rackspace"},
		{"Exchange Online", smtp.AtRCPT, "450 4.4.316 Connection refused", oneAddress, "", exchange},
		{"Cloudmark", smtp.AtMAIL, "552 5.2.0 192.0.2.7 blocked AUP#BL", operator, "IP address", "https://smtp.codes/cloudmark"},
		{"a server", smtp.AtRCPT, "552 5.2.2 The mailbox has no room, please try sending it again", recipient, "", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"a server", smtp.AtDot, "553 5.1.3 Reply-To address is invalid", operator, "fromEmail", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"GoDaddy", smtp.AtDot, "552 C13ypH3DXQO9CC140p6S9y Message would take you over your relay quota of 500 Current quota used: 487", spent, "24 hours", "https://github.com/WWBN/AVideo/issues/7527"},
		{"a server whose disk is full", smtp.AtDot, "552 5.3.1 Insufficient system storage", temporary, "", "https://www.rfc-editor.org/rfc/rfc3463"},
		{"TOM", smtp.AtDot, "552 too many same size mails.", filtered, "", "https://blog.sina.com.cn/s/blog_8dc13ec50101fxxr.html"},
		{"be-BOP's relay", smtp.AtDot, "550 5.7.1 quota exceeded - contact be-BOP support", spent, "24 hours", code + "%225.7.1+quota+exceeded%22"},
		{"be-BOP's relay", smtp.AtRCPT, "550 5.7.1 quota exceeded - contact be-BOP support", spent, "24 hours", code + "%225.7.1+quota+exceeded%22"},
		{"a relay", smtp.AtRCPT, "550 5.7.1 Quota exceeded for this sender today, try tomorrow.", spent, "24 hours", code + "%22Quota+exceeded+for+this+sender%22"},
		{"a relay", smtp.AtDot, "550 Quota exceeded for user", spent, "24 hours", code + "%22Quota+exceeded+for+user%22"},
		{"Dovecot's LMTP", smtp.AtRCPT, "552 5.2.2 <ada@example.net> Quota exceeded (mailbox for user is full)", recipient, "", "https://doc.dovecot.org/latest/core/plugins/quota.html"},
		{"Postfix with iRedAPD", smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: Quota exceeded (number of mails in total)", spent, "24 hours", iredapd},
		{"Postfix with iRedAPD", smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: Sender is not same as SMTP authenticate username", operator, "fromEmail", iredapd},
		{"Postfix with iRedAPD", smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: Not authorized", operator, "", iredapd},
		{"Postfix with a policy service", smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: not before you have paid", operator, "", "https://www.postfix.org/SMTPD_POLICY_README.html"},
		{"OpenSMTPD", smtp.AtRCPT, "550 Invalid recipient: <ada@example.net>", operator, "check auth", "https://github.com/OpenSMTPD/OpenSMTPD/issues/902"},
		{"MailEnable", smtp.AtRCPT, "550 Requested action not taken: mailbox unavailable or not local", operator, "check auth", "https://github.com/twisted1919/bounce-handler"},
		{"Cisco's gateway", smtp.AtRCPT, "550 #5.1.0 Address rejected.", operator, "check auth", "https://manualsbrain.com/pt/manuals/1649517/?page=162"},
		{"Postfix that asks ahead", smtp.AtRCPT, "550 5.1.1 <ada@example.org>: Recipient address rejected: undeliverable address: host mx.example.org[192.0.2.9] said: 550 #5.1.0 Address rejected. (in reply to RCPT TO command)", recipient, "", verifying},
		{"a policy service", smtp.AtRCPT, `550 5.7.1 "Helo command rejected: unable to resolve domain"`, operator, "name", code + "%22Helo+command+rejected%22"},
		{"a policy service", smtp.AtRCPT, "550 5.7.1 REJECTED:Helo name is not a host", operator, "name", code + "%22Helo+command+rejected%22"},
		{"cPanel's Exim", smtp.AtRCPT, `550 5.7.1 "Daily SMTP relay limit exceeded for customer."`, spent, "", code + "%22Daily+SMTP+relay+limit+exceeded%22"},
		{"Barracuda", smtp.AtRCPT, "550 No such domain at this location (example.net)", operator, "check auth", code + "%22No+such+domain+at+this+location%22"},
		{"Oracle Messaging Server", smtp.AtRCPT, "550 5.7.1 Relaying not allowed: ada@example.net", operator, "this login", code + "%22Relaying+not+allowed%22"},
		{"Trend Micro IMSS", smtp.AtRCPT, "550 domain of forward path is not allowed", operator, "this login", "https://success.trendmicro.com/solution/1106332"},
		{"IMail", smtp.AtRCPT, "550 not local host example.net, not a gateway", operator, "this login", code + "%22not+a+gateway%22"},
		{"a relay", smtp.AtRCPT, "550 Relaying is prohibited", operator, "this login", code + "%22Relaying+is+prohibited%22"},
		{"AT&T", smtp.AtRCPT, "553 VS10-RT Possible forgery or deactivated due to abuse (#5.1.1) 192.0.2.9", operator, "IP address", sisimai},
		{"Exim of the recipient's side", smtp.AtRCPT, "550-Callout verification failed:\r\n550 554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org", oneAddress, "", exim},
		{"Exim of the recipient's side", smtp.AtRCPT, "550-Callout verification failed:\r\n550 550 5.1.1 <ada@example.net>: no such user", recipient, "", exim},
		{"Exim that asks for the sender", smtp.AtRCPT, "550-Callout verification failed:\r\n550-550 no such user\r\n550 Sender verify failed", operator, "fromEmail", exim},
		{"SendGrid", smtp.AtAUTH, "451 Authentication failed: Could not authenticate", operator, "auth.pass", "https://github.com/sendgrid/docs/issues/2191"},
		{"eYou", smtp.AtRCPT, "556 remote ip check error.", operator, "IP address", code + "%22remote+ip+check+error%22"},
		{"Strato", smtp.AtGreeting, "421 smtp.strato.de : No SMTP service (MBL-B)", operator, "IP address", "https://www.strato.de/faq/mail/"},
		{"Postfix that wants a login", smtp.AtRCPT, "554 5.7.1 <ada@example.net>: Recipient address rejected: Access denied", operator, "auth", "https://github.com/takeyamajp/docker-postfix/issues/6"},
		{"Postfix that wants a login", smtp.AtRCPT, "450 4.7.1 <ada@example.net>: Recipient address rejected: Access denied", operator, "auth", postfix},
		{"qmail with chkuser", smtp.AtRCPT, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.5.3 - chkuser)", operator, "auth", "https://github.com/twisted1919/bounce-handler"},
		{"STRATO", smtp.AtRCPT, "552 User has exhausted allowed storage space", recipient, "", "https://www.strato.de/faq/mail/"},
		{"KDDI", smtp.AtRCPT, "552 Requested mail action not taken", oneAddress, "", "https://www.rfc-editor.org/rfc/rfc5321"},
		{"a mail server", smtp.AtRCPT, "552 User has too many messages on the server", oneAddress, "", "https://github.com/twisted1919/bounce-handler"},
		{"a mail server", smtp.AtRCPT, "550 User (ada@example.net) unknown.", recipient, "", "https://github.com/twisted1919/bounce-handler"},
		{"qmail", smtp.AtRCPT, "550 sorry, that recipient doesn't exist (#5.7.1)", recipient, "", "https://github.com/twisted1919/bounce-handler"},
		{"Plesk", smtp.AtDot, "550 5.7.0 Your message could not be sent. The limit on the number of allowed outgoing messages was exceeded. Try again later.", spent, "24 hours", "https://support.plesk.com/hc/en-us/articles/12377519983511"},
		{"GoDaddy", smtp.AtGreeting, "451 The server has reached its limit for processing requests from your host.", limited, "rateLimit", "https://www.godaddy.com/help/fix-rejected-email-with-a-bounce-error-40685"},
		{"Postfix", smtp.AtRCPT, "550 5.7.1 <ada@example.net>: Recipient address rejected: Mailbox does not exist", recipient, "", postfix},
		{"Postfix with iRedAPD", smtp.AtRCPT, "451 4.7.1 <ada@example.net>: Recipient address rejected: Intentional policy rejection, please try again later", oneAddress, "", iredapd},
		{"Postfix", smtp.AtRCPT, "451 4.3.5 <ada@example.net>: Recipient address rejected: Server configuration problem", temporary, "", postfix},
		{"Postfix", smtp.AtRCPT, "554 5.7.1 Service unavailable; Sender address [no-reply@acme.example] blocked using dbl.spamhaus.org", operator, "fromEmail", postfix},
		{"Dovecot", smtp.AtDot, "451 4.3.0 <ada@example.net> Too many concurrent deliveries for user", oneAddress, "", "https://github.com/dovecot/core/blob/main/src/lmtp/lmtp-local.c"},
		{"Sendmail", smtp.AtGreeting, "421 4.3.2 Too many open connections.", limited, "maxConnections", sendmail},
		{"Sendmail", smtp.AtRCPT, "550 5.2.1 <ada@example.net>... Mailbox disabled for this recipient", recipient, "", sendmail},
		{"Sendmail", smtp.AtEHLO, "501 5.0.0 Invalid domain name", operator, "set name", code + "%22501+5.0.0+Invalid+domain+name%22"},
		{"a mail server", smtp.AtMAIL, "530 5.7.0 TLS is required", operator, "requireTLS", code + "%22530+5.7.0+TLS+is+required%22"},
		{"a mail server", smtp.AtMAIL, "550 5.7.10 Encryption needed", operator, "requireTLS", "https://www.rfc-editor.org/rfc/rfc5248"},
		{"a mail server", smtp.AtAUTH, "525 5.7.13 User Account Disabled", operator, "account", "https://www.rfc-editor.org/rfc/rfc5248"},
		{"Verizon", smtp.AtRCPT, "550 4.2.1 mailbox temporarily disabled: ada@example.net", oneAddress, "", code + "%22mailbox+temporarily+disabled%22+4.2.1"},
		{"a mail server", smtp.AtDot, "550 there is no valid sender in any header line", operator, "fromEmail", exim},
	} {
		t.Run(row.server+" "+row.reply, func(t *testing.T) {
			if !strings.HasPrefix(row.source, "http") {
				t.Errorf("no source: %q", row.source)
			}
			failure := (&smtpProvider{logsIn: true}).failure(&smtp.Error{Stage: row.at, Reply: parsed(row.reply)})
			got := want{failure.Kind, failure.Quota, failure.Suppressed, failure.AboutAddress, failure.Filtered}
			if got != row.want || !strings.Contains(failure.Hint, row.hint) {
				t.Errorf("got %+v, want %+v with %q: %v", got, row.want, row.hint, failure)
			}
			if (failure.Kind == RateLimited || failure.Quota) && failure.Hint == "" {
				t.Error("no hint")
			}
		})
	}
}

// parsed is a reply as package smtp reads it.
func parsed(text string) smtp.Reply {
	code, _ := strconv.Atoi(text[:3])
	var reply smtp.Reply
	for i, line := range strings.Split(text, "\r\n") {
		line = line[4:]
		if word, rest, _ := strings.Cut(line, " "); i == 0 && strings.Count(word, ".") == 2 && strings.Trim(word, "0123456789.") == "" {
			reply.Enhanced, line = word, rest
		}
		if i > 0 {
			reply.Text += "\n"
		}
		reply.Text += line
	}
	reply.Code = code
	return reply
}

// A login by access token has no other way that could be set.
// https://github.com/tarickb/sasl-xoauth2/issues/110
func TestSMTPHintOfARefusedToken(t *testing.T) {
	reply := parsed("501 5.5.124 Invalid XOAUTH2 auth data - User address provided is not valid")
	e := (&smtpProvider{logsIn: true, tokens: new(accessTokens)}).failure(&smtp.Error{Stage: smtp.AtAUTH, Reply: reply})
	if e.Kind != Configuration || !strings.Contains(e.Hint, "auth.user") {
		t.Errorf("%+v", e)
	}
}

// Where no login is set, a refusal that one would end says so; where one is, it is
// not told to set it.
func TestSMTPHintsForTheLogin(t *testing.T) {
	for reply, words := range map[string][2]string{
		"554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied": {"set auth", "allow list"},
		"550 5.7.9 This user must be authenticated":                           {"set auth", "rights"},
		"550 5.7.9 go away":                                    {"set auth", "app password"},
		"550 relay not permitted":                              {"set auth", "rights"},
		"530 5.7.0 Authentication required":                    {"set auth", "rights"},
		"550 5.7.1 Sender address rejected: not owned by user": {"fromEmail", "fromEmail"},
	} {
		for i, logsIn := range []bool{false, true} {
			for _, stage := range []smtp.Stage{smtp.AtMAIL, smtp.AtRCPT} {
				failure := (&smtpProvider{logsIn: logsIn}).failure(&smtp.Error{Stage: stage, Reply: parsed(reply)})
				if failure.Kind != Configuration || !strings.Contains(failure.Hint, words[i]) {
					t.Errorf("%s at %v: login %v: %v", reply, stage, logsIn, failure)
				}
			}
		}
	}
}

// Without a login nobody knows whose records a server misses.
func TestSMTPReplyOfMissingRecords(t *testing.T) {
	reply := parsed("550-Requested action not taken: mailbox unavailable\r\n550 invalid DNS MX or A/AAAA resource record")
	if e := (&smtpProvider{}).failure(&smtp.Error{Stage: smtp.AtRCPT, Reply: reply}); e.Kind != Configuration || !e.Unplaced || !strings.Contains(e.Hint, "fromEmail") {
		t.Errorf("%+v", e)
	}
}

// Servers repeat what they do not understand, and no part of a password stays, wherever
// a long reply is cut.
func TestSMTPRepliesHoldNoPassword(t *testing.T) {
	p := &smtpProvider{logins: []settings.Secret{settings.NewSecret("hunter2-S3c")}}
	for before := range 2 * maxDetail {
		reply := smtp.Reply{Code: 535, Text: strings.Repeat("x ", before/2) + strings.Repeat(" ", before%2) + "hunter2-S3c"}
		if e := p.failure(&smtp.Error{Stage: smtp.AtAUTH, Reply: reply}); strings.Contains(e.Error(), "hunt") {
			t.Fatalf("%d: %v", before, e)
		}
	}
}
