package providers

import (
	"regexp"
	"slices"
	"strings"

	"logto-email-relay/smtp"
)

// verdict is what a refusal means.
type verdict struct {
	kind         Kind
	quota        bool
	suppressed   bool
	aboutAddress bool
	filtered     bool
	unplaced     bool
	hint         string
}

// smtpRule gives replies a meaning. A rule fits when all its conditions do; an
// empty one always does.
type smtpRule struct {
	at       smtp.Stage
	codes    string // basic codes; "4" and "5" stand for a whole class
	enhanced string // enhanced codes; one that ends in a dot stands for all that begin with it
	words    string // parts of the text in lower case, separated by |; behind a blank one begins a word
	verdict
}

const (
	checkLogin    = "check auth.user and auth.pass; if they are right, the service may not allow this machine's IP address"
	checkPassword = "the service does not take this password or this way to log in: create an app password, or set auth.method"
	checkSender   = "the server does not let this account send as this sender: " +
		"check fromEmail, envelope.from and the sender's domain at the service"
	checkAccount = "the service does not let this account send: look at its state, its plan and its permissions there"
	needLogin    = "the server wants a login first: set auth, or let it accept this machine's IP address"
	needRight    = "the server does not let this login send to others: check auth, fromEmail and the account's rights"
	needTLS      = `the server wants TLS first: set "requireTLS": true, or "secure": true with port 465`
	needName     = "the server wants another host name in EHLO: set name to one that DNS knows, such as relay.example.com"
	refusedIP    = "the server refuses this machine's IP address: put it on the server's allow list, or have it taken off the block list"
	needPTR      = "DNS has no name for this machine's IP address, or one that does not lead back to it: have its PTR record set"
	needIPv4     = `the server takes no mail over IPv6: set "ipv4": true`
	slowDown     = "the service throttles: set rateLimit and rateDelta to what it allows, and maxConcurrent lower"
	fewer        = "set maxConnections to what the service allows"
	manyUnknown  = "too many mails went to addresses that do not exist: set limits and recipients.checkDomain, and find out who asks for them"
	lessOften    = "set maxConnections lower and maxMessages higher, so that there are fewer logins, and check auth"
	quotaOfDay   = "the quota is spent for up to 24 hours: raise it at the service, or add another provider"
	quotaOfHour  = "the quota is spent for up to an hour: raise it at the service, or add another provider"
	quotaOfMonth = "the quota is spent until the next month: raise it at the service, or add another provider"
	quotaOfPlan  = "the quota is spent until more is bought at the service; another provider helps meanwhile"
	needOAuth2   = `the service takes no passwords any more: log in by OAuth2, with "type": "oauth2" in auth`
	mayRelay     = "the server says this of recipients that do not exist, and where this client may not send to others: check auth"
	noRecords    = "the server finds no MX or A record of the recipient's domain, or of the sender's: check fromEmail"
	noDomain     = "the server finds no such domain"
	noNames      = "the server does not find a domain that exists: check its name servers"
	policy       = "the server refuses by a policy of its own, mostly for the sender, the IP address or a header: ask its operator"
)

// Stages at which a server may speak of the recipient, and of the message.
const (
	ofRecipient = smtp.AtRCPT | smtp.AtDATA | smtp.AtDot
	ofMessage   = smtp.AtMAIL | smtp.AtDATA | smtp.AtDot
)

// smtpRules are read first to last, and the first that fits decides.
//
// Only what names the recipient blames the reader. Servers say everything at every
// stage, under every code: that the sender is not theirs after the message, that the
// login is missing at the recipient. So the words come first, those about the
// operator's side before those about the recipient, and then the codes. What nobody
// can place is the operator's, and the next provider gets the mail: nothing was
// accepted, so nothing can arrive twice.
//
//   - enhanced codes: RFC 3463, RFC 5248, RFC 7372, RFC 7505
//   - Aliyun: https://help.aliyun.com/document_detail/44499.html
//   - Amazon SES: https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html
//   - Exchange Online: https://learn.microsoft.com/en-us/troubleshoot/exchange/email-delivery/ndr/non-delivery-reports-in-exchange-online
//   - Gmail: https://support.google.com/a/answer/3726730
//   - IONOS: https://www.ionos.com/help/email/troubleshooting-mail-basicmail-business/error-messages-caused-by-undeliverable-email/
//   - QQ, 163.com: https://blog.csdn.net/weixin_31487917/article/details/119692776
//   - SendGrid: https://www.twilio.com/docs/sendgrid/for-developers/sending-email/smtp-errors-and-troubleshooting
//   - what servers say to senders of many mails: https://smtpfieldmanual.com
//
// smtp_replies_test.go has the replies of these and of twenty more, each with its
// source.
var smtpRules = []smtpRule{
	// A moment of this recipient's alone, whatever else the words are about.
	{at: ofRecipient, words: "greylist|graylist|grey list|grey-list|intentional policy rejection",
		verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, words: "account that you tried to reach|mailbox disabled for this recipient|" +
		"disabled or discontinued|rejection on the target address|recipient's email account has been suspended|" +
		"disabled recipient", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, words: "user you are trying to contact|user is receiving mail|receivingrate|recipient thread limit|recipient has exceeded|" +
		"deliveries for user|mailbox unavailable or access denied", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, words: "too many messages on the server|too many messages for this recipient|" +
		"zuviele mails auf dem server", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, words: "verified address: connect to|verified address: lost connection|verified address: conversation with|" +
		"verified address: delivery temporarily|" +
		"undeliverable address: connect to|undeliverable address: lost connection|undeliverable address: conversation with|" +
		"undeliverable address: delivery temporarily|" +
		"verification in progress", verdict: verdict{kind: Temporary, aboutAddress: true}},
	// Postfix of itself, which asks ahead by the way that mails would take.
	{at: ofRecipient, codes: "5", words: "undeliverable address: mail to remote|undeliverable address: mail transport unavailable|" +
		"undeliverable address: unknown mail transport", verdict: verdict{kind: Configuration}},
	{at: ofRecipient, codes: "4", words: "unverified address: ", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, codes: "4", words: "this recipient", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, words: "suppression list|address was suppressed|recipient suppressed|marked as inactive|message rejected: address blacklisted",
		verdict: verdict{kind: Recipient, suppressed: true}},
	{words: "too many invalid recipient|too many unknown recipient|too many bad recipient|too many failed recipient|too many non-exist|" +
		"too many nonexist|" +
		"too many invalid address|too many unknown user|too many invalid user", verdict: verdict{kind: RateLimited, hint: manyUnknown}},
	// Postfix, of every recipient, where the client has neither logged in nor an address that it knows.
	{at: ofRecipient, enhanced: "4.7.1 5.7.1", words: "recipient address rejected: access denied",
		verdict: verdict{kind: Configuration, hint: needLogin}},
	// Exchange Online, under 5.2.1.
	{words: "does not accept email over ipv6", verdict: verdict{kind: Configuration, hint: needIPv4}},
	// Forward Email, of the login whose owner is gone.
	{words: "alias user does not exist", verdict: verdict{kind: Configuration, hint: checkAccount}},
	// qmail and chkuser, under codes of any kind.
	{words: "allowed rcpthosts", verdict: verdict{kind: Configuration, hint: needLogin}},
	// OpenSMTPD, MailEnable, Cisco, Barracuda.
	{at: smtp.AtRCPT, codes: "550", words: "invalid recipient:|or not local|" +
		"or is not local|#5.1.0 address rejected|no such domain at this location", verdict: verdict{kind: Configuration, unplaced: true, hint: mayRelay}},
	// AT&T, under 5.1.1.
	{words: "vs10-|possible forgery", verdict: verdict{kind: Configuration, hint: refusedIP}},
	// Yahoo's and AT&T's submission, of a sender that is not the account's.
	{words: "request failed; mailbox unavailable", verdict: verdict{kind: Configuration, hint: checkSender}},
	// Links in the message, by lists that have the names of others for addresses.
	{at: smtp.AtDATA | smtp.AtDot, codes: "5", words: "surbl|uribl|blacklisted url|black listed url|message contains domain|credential leak", verdict: verdict{kind: Content, filtered: true}},
	{words: "blocked using spam pattern", verdict: verdict{kind: Content, filtered: true}},
	{words: "ip has been temporarily blocked|spam ip|ipbl0", verdict: verdict{kind: Configuration, hint: refusedIP}},
	// A code and words that agree, whatever names and links stand around them.
	{at: ofRecipient, enhanced: "5.1. 5.2.1", words: senderWords, verdict: verdict{kind: Configuration, hint: checkSender}},
	{at: ofRecipient, enhanced: "5.1.1 5.1.2 5.1.3 5.1.6 5.1.10", words: recipientWords, verdict: verdict{kind: Recipient}},
	{at: ofRecipient, enhanced: "5.1.1 5.2.1", words: "your account", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{at: ofRecipient, enhanced: "5.1.1 5.2.1", words: "account disabled|account is disabled|account has been disabled|account suspended|" +
		"account is suspended|" +
		"account has been suspended|account closed|account has been closed", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, enhanced: "5.2.121 5.2.122", verdict: verdict{kind: Temporary, aboutAddress: true}}, // Exchange: the reader gets too many

	// A list of all that may be wrong with a login, and mails held back until the
	// sender, the connection or the address proves itself.
	{at: smtp.AtAUTH, words: "password is incorrect|app password|application password|application-specific|app-specific|authorization code",
		verdict: verdict{kind: Configuration, hint: checkPassword}},
	{enhanced: "4.7.23", words: "spf", verdict: verdict{kind: Configuration, hint: checkSender}}, // RFC 7372; Gmail has it for PTR
	{enhanced: "4.7.23 4.7.25", verdict: verdict{kind: Configuration, hint: needPTR}},
	{enhanced: "4.7.26 4.7.27 4.7.30 4.7.32", verdict: verdict{kind: Configuration, hint: checkSender}},
	{enhanced: "4.7.29 5.7.29", words: "arc ", verdict: verdict{kind: Configuration, hint: checkSender}}, // RFC 8617; Gmail has it for TLS
	{enhanced: "4.7.29 5.7.29", verdict: verdict{kind: Configuration, hint: needTLS}},

	// Full mailboxes. Exchange also keeps a copy for the sender, whose mailbox may be full.
	{words: "storedrv.submission.exception:quota|" +
		"sender throttled due to continuous mailbox full", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{at: ofRecipient, enhanced: "4.2.2 5.2.2", words: "sending quota|sending limit|sender|" +
		"submission", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}},
	{at: ofRecipient, enhanced: "4.2.2 5.2.2", words: "current period",
		verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfMonth}},
	{at: ofRecipient, enhanced: "4.2.2 5.2.2", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, enhanced: "4.2.1", words: "mailbox|recipient|user", verdict: verdict{kind: Temporary, aboutAddress: true}},

	{words: "per second|per minute", verdict: verdict{kind: RateLimited, hint: slowDown}}, // whatever plan would allow more
	// Quotas of ours, with when they end, before throttling.
	{words: "per hour|this hour|hour limit| hourly| / 1h", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfHour}},
	{words: "monthly|per month|this month|current period", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfMonth}},
	{words: " credits|insufficient credit|not enough sending quota|recharge|" +
		"upgrade your plan", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfPlan}},
	{words: "messaging limits|sending quota|relay quota|outgoing limit|allowed outgoing messages|submission quota|submissionquota|" +
		"message quota|messages quota|outmail quota|email quota|count quota|size quota|" +
		"policy rejection- quota|number of mails in total|accumulated message size|sending limit|send limit|email limit|recipient limit|" +
		"unique recipients limit| daily|per day|in 24 hours|past 24h|past 24 hours| / 24h| / 1d|daily_limit_reached|mi:stc",
		verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}},
	{enhanced: "5.4.5", verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}}, // Gmail

	// Throttling.
	{words: "too many concurrent|too many connections|too many open|too many sessions|too many active sessions|concurrent connection|concurrent server connection|" +
		"connection limit|number of connections|" +
		"simultaneous|thread limit|hl:icc",
		verdict: verdict{kind: RateLimited, hint: fewer}},
	{words: "too many login|too many invalid login|too many auth|too many failed login|too many failed auth|too many bad auth|" +
		"too much fail authentication", verdict: verdict{kind: RateLimited, hint: lessOften}},
	{words: "throttling|rate overlimit|sender rate exceeds|rate limit|ratelimit|sending rate|message rate|submission rate|rate exceeded|unusual rate|unexpected volume|" +
		"excessive volume|peak smtp relay|" +
		"per session|per time unit|too many recipients|too many emails|too many mails|too many messages|too many requests|too many recent|" +
		"too much mail|" +
		"too quickly|too fast|throttle delay|reached its limit for|too frequent|frequency limited|slow down|queue quota|" +
		"failure sending mail. try again|try again in |" +
		"mi:sfq|mi:dmc|mi:ccl|rp:drc|rp:ccl|rp:qrc|rp:rcl|rp:trc|rp:frl|hl:ifc", verdict: verdict{kind: RateLimited, hint: slowDown}},
	{codes: "4", words: "throttled", verdict: verdict{kind: RateLimited, hint: slowDown}},
	{at: smtp.AtDot, codes: "503", enhanced: "5.5.3", verdict: verdict{kind: Content, filtered: true}}, // Stalwart, when a filter refuses
	{enhanced: "4.5.3 5.5.3 4.7.28 5.7.28", verdict: verdict{kind: RateLimited, hint: slowDown}},

	// Full mailboxes that have no code of their own.
	{at: ofRecipient, words: fullWords, verdict: verdict{kind: Recipient}},
	{at: ofRecipient, codes: "5", words: diskQuota, verdict: verdict{kind: Recipient}},
	{at: ofRecipient, codes: "5", enhanced: "5.1. 5.2.", words: quotaExceeded, verdict: verdict{kind: Recipient}},
	{enhanced: "5.3. 5.4. 5.5. 5.6. 5.7.", words: quotaExceeded, verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}},
	{words: "quota exceeded for user|quota exceeded for sender|quota exceeded for this|quota exceeded for api|quota exceeded for domain",
		verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}},
	{at: smtp.AtRCPT, codes: "5", words: quotaExceeded, verdict: verdict{kind: Recipient}},
	{codes: "5", words: quotaExceeded, verdict: verdict{kind: RateLimited, quota: true, hint: quotaOfDay}},

	// Aliyun's own codes.
	{codes: "436", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "551", words: "account unavailable", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{codes: "556", words: "too many|number of rcpts", verdict: verdict{kind: Content}},
	{codes: "557", verdict: verdict{kind: Content, filtered: true}},
	{codes: "559 563", verdict: verdict{kind: Recipient, suppressed: true}},
	{codes: "561", verdict: verdict{kind: Recipient}},

	// What an operator has to mend, at whatever stage and under whatever code the
	// server says so.
	{words: "need fully-qualified address", at: smtp.AtRCPT, verdict: verdict{kind: Recipient}},
	{words: "starttls command first|tls is required|tls required by|tls-connection is required", verdict: verdict{kind: Configuration, hint: needTLS}},
	{codes: "5", words: "starttls|tls not available|must use tls|tls required|requires tls|encryption required|encryption is required|encryption needed|" +
		"without ssl|secure connection",
		verdict: verdict{kind: Configuration, hint: needTLS}},
	{words: "basic authentication is disabled|basic authentication is not supported", verdict: verdict{kind: Configuration, hint: needOAuth2}},
	{words: "authentication required|authentication is required|authentication needed|authenticate first|must authenticate|" +
		"must be authenticated|need to authenticate|not authenticated|not logged in|log in first|auth first|an auth command|" +
		"unauthenticated senders|without authentication|smtp auth is required|auth required|turn on smtp auth|requires auth|only authenticated users",
		verdict: verdict{kind: Configuration, hint: needLogin}},
	{words: "sender verify|sender verification|verification failed for|while verifying", verdict: verdict{kind: Configuration, hint: checkSender}},
	{enhanced: "4.1.7 4.1.8 5.1.7 5.1.8", verdict: verdict{kind: Configuration, hint: checkSender}},
	// Exim, of the recipient's domain; another server may find its servers.
	{at: smtp.AtRCPT, codes: "4", words: eximRecords, verdict: verdict{kind: Temporary, aboutAddress: true, hint: noDomain}},
	{at: smtp.AtRCPT, codes: "5", words: "restricted characters in address", verdict: verdict{kind: Recipient, filtered: true}}, // Exim, as Debian has it
	{at: smtp.AtRCPT, codes: "5", words: eximRecords, verdict: verdict{kind: Recipient, filtered: true, hint: noDomain}},
	// Workspace, of an address that is not registered.
	{words: "mail relay denied", verdict: verdict{kind: Configuration, hint: refusedIP}},
	// Exim, of the recipient's server.
	{at: smtp.AtRCPT, words: "callout verification failed|recipient verify callout", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{words: " helo| ehlo|(helo|(ehlo|need fully-qualified hostname|mi:nhd", verdict: verdict{kind: Configuration, hint: needName}},
	{at: smtp.AtEHLO, codes: "501 504", verdict: verdict{kind: Configuration, hint: needName}},
	{words: "relay access denied|relaying denied|relaying prohibited|unable to relay|relay not permitted|relay not allowed|relay denied|" +
		"permitted to relay|allowed to relay|do not relay|don't relay|not relaying|as a relay|denies relay|open relay|to be relayed|relaying mail to|(relaying)|i cannot deliver mail for|" +
		"relay of mail is not allowed|configured to relay|relay prohibited|relay operation rejected|no relaying|relaying not allowed|relaying is prohibited|" +
		"forward path is not allowed|not a gateway|not accepting email for domain",
		verdict: verdict{kind: Configuration, hint: needLogin}},
	{at: ofRecipient, words: "could not deliver mail to", verdict: verdict{kind: Recipient}},
	{words: "sender address blocked|mailfrom domain is listed", verdict: verdict{kind: Configuration, hint: checkSender}},
	{words: "reverse dns|reverse hostname|ptr record|dns ptr|registro ptr|cannot find your|ip name lookup", verdict: verdict{kind: Configuration, hint: needPTR}},
	{words: "client host|blocked using|in an rbl|rbl listing|dnsbl|ipcheck|ip check|mbl-b|network not allowed|banned sender|invalid ip|" +
		"bad ip|ip address|your ip|that ip|this ip|sending ip|ip you're using|ip not in|ip in black|in a black list|black ip|dynamic ip|tss09|" +
		"blocklist|block list|blacklist|black listed|listed at|listed by the lookup|reputation|sbrs|envelope blocked|a problem occurred. (ask|rbl reject|rbl deny|ip reject|ip_not_allowed|lista blanca|" +
		"spamhaus|" +
		"access to submit messages to this|you are not allowed to connect|not on the allow list|aup#|hl:rep|wm:bli|dt:rbl", verdict: verdict{kind: Configuration, hint: refusedIP}},
	{words: "outgoing mail from|outgoing mail suspension|outgoing blocked|account outbounds|configuration set|spam abuse detected|tenant has exceeded|account disabled|" +
		"sending suspended|sending paused", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{words: "send as|sendasdenied|as this sender|relaying disallowed as|sender mismatch|login mismatch|sender signature|sender you used|" +
		"authorize the sender|not local sender|unregistered domain|domain is unverified|demo domain|test purposes|" +
		"sender address|sender identity|sender domain|sender's domain|sender name|sender rejected|sender denied|sender refused|" +
		"sender not|sender is not|sender or from|invalid sender|bad sender|unknown sender|incorrect sender|envelope sender|" +
		"domain of sender|sending domain|sending from|from/sender|from address|of from email|from field|msg-dom|from header|valid from|" +
		"header from|from: header|header address|" +
		"mail from|mailfrom|return path|return-path|not owned by|authorized user|authorization user|allowed to send from|" +
		"authorized to send from|authorised to send from|authorized to send emails from|testing emails|must be verified|" +
		"only send emails to|not verified|identities failed|local user only|non-local account|" +
		"mi:imf|mi:spb|mi:dma|dt:sum|wm:blu", verdict: verdict{kind: Configuration, hint: checkSender}},
	// GMX and IONOS, of either domain.
	{at: smtp.AtRCPT, codes: "4", words: "invalid dns mx", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: smtp.AtRCPT, words: "invalid dns mx", verdict: verdict{kind: Configuration, unplaced: true, hint: noRecords}},
	{words: "invalid dns mx", verdict: verdict{kind: Configuration, hint: checkSender}},
	{codes: "5", words: "dmarc|spf|dkim", verdict: verdict{kind: Configuration, hint: checkSender}},
	{enhanced: "5.7.25", verdict: verdict{kind: Configuration, hint: needPTR}},
	{enhanced: "5.7.20 5.7.21 5.7.22 5.7.23 5.7.24 5.7.26 5.7.27",
		verdict: verdict{kind: Configuration, hint: checkSender}},
	{words: "not yet activated|not activated|smtp account|your account|account is not available|account has been|account not subscribed|" +
		"is not allowed to send|activate your|account suspended|account is suspended|mail server has been suspended|under review|outboundspam|allowed to send email|" +
		"no permission|unusual sending activity|unsolicited email originating from your|access to this mail system has been blocked|smtpclientauthentication|" +
		"sender throttled| license", verdict: verdict{kind: Configuration, hint: checkAccount}},
	{codes: "5", words: "access denied: user|not authorized to perform", verdict: verdict{kind: Configuration,
		hint: "the account's policy forbids this send: check its permissions, its sender and its IP address condition"}},
	{at: smtp.AtDot, codes: "5", words: "message blocked|message filtered|no spam", verdict: verdict{kind: Content, filtered: true}},
	{at: ofRecipient, codes: "4", words: "policy rejection", verdict: verdict{kind: Temporary, aboutAddress: true}}, // policyd, of a first try
	{words: "policy restriction|policy violation|policy reason|policy rejection|policy that|organization policy|local policy|security polic|denied by policy",
		verdict: verdict{kind: Configuration, hint: policy}},
	{codes: "530", verdict: verdict{kind: Configuration, hint: needLogin}},
	{enhanced: "5.7.9", verdict: verdict{kind: Configuration, hint: checkPassword}},
	{codes: "4", words: "api key is invalid|invalid api key|invalid api token|api token is invalid", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{codes: "534 535", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{enhanced: "5.7.8", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{codes: "538", verdict: verdict{kind: Configuration, hint: needTLS}},
	{enhanced: "5.7.10 5.7.11", verdict: verdict{kind: Configuration, hint: needTLS}},
	{enhanced: "5.7.13", verdict: verdict{kind: Configuration, hint: checkAccount}},
	// go-smtp, as in Proton Mail Bridge and maddy, has 454 for whatever is wrong with a login.
	{at: smtp.AtAUTH, words: "could not authenticate|no such user|invalid username|invalid user name|invalid password|invalid credentials|invalid login|" +
		"incorrect username|incorrect password|wrong username|wrong password|bad username|bad password|bad credentials", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{at: smtp.AtAUTH, codes: "432 5", verdict: verdict{kind: Configuration, hint: checkLogin}},
	{at: smtp.AtGreeting | smtp.AtEHLO, codes: "5", verdict: verdict{kind: Configuration, hint: refusedIP}},

	// The message. A filter's opinion is one service's own, and so is how much it takes.
	{at: smtp.AtDATA | smtp.AtDot, codes: "5", words: "spam|junkmail|dt:spm|virus|malware|infected|phish|threat found|unsolicited|suspicious|content|attachment",
		verdict: verdict{kind: Content, filtered: true}},
	{at: ofMessage, codes: "5", words: "message size|email size|size limit|mailsize|too large|too big|message is too long",
		verdict: verdict{kind: Content, filtered: true}},
	{at: smtp.AtDATA | smtp.AtDot, codes: "5", words: "malformed|rfc 5322|rfc5322|rfc 2822|not rfc compliant|bare lf|bare <lf>|line too long",
		verdict: verdict{kind: Content}},

	// What is unknown or does not exist may also be something of the operator's.
	{at: ofRecipient, codes: "5", words: senderWords, verdict: verdict{kind: Configuration, hint: checkSender}},
	{at: ofRecipient, codes: "5", words: "your domain|your server|sending server|reverse lookup|your ptr|rdns|no ptr|from-domain|" +
		"envelope from|cannot send from|relay list|smarthost|smtp auth|smtp username", verdict: verdict{kind: Configuration, hint: policy}},
	{at: ofRecipient, codes: "5", words: "api key| token|password|subaccount|allowed to send|ip pool| stream| template| tenant |tracking domain",
		verdict: verdict{kind: Configuration, hint: checkAccount}},

	{at: ofRecipient, enhanced: "5.7.", words: "user does not exist|user doesn't exist|recipient does not exist|recipient doesn't exist|" +
		"mailbox does not exist|mailbox doesn't exist|address does not exist|address doesn't exist", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, enhanced: "5.7.", words: "does not exist|doesn't exist", verdict: verdict{kind: Configuration}},

	// go-smtp, of whatever went wrong in the program behind it.
	{at: smtp.AtDot, codes: "554", enhanced: "5.0.0", words: "error: transaction failed", verdict: verdict{kind: Configuration, unplaced: true}},

	// The recipient.
	// What one server's DNS says, and be it that it has none just now; another one may find the domain.
	{at: smtp.AtRCPT, codes: "4", words: noRecordWords, verdict: verdict{kind: Temporary, aboutAddress: true, hint: noDomain}},
	{at: smtp.AtRCPT, codes: "5", words: noRecordWords, verdict: verdict{kind: Recipient, filtered: true, hint: noDomain}},
	{at: ofRecipient, enhanced: "4.3.", verdict: verdict{kind: Temporary}}, // the server's own, whatever stands before it
	{at: ofRecipient, enhanced: "4.1.2", verdict: verdict{kind: Recipient, filtered: true, hint: noDomain}},
	{at: ofRecipient, codes: "4", words: "recipient address rejected: domain not found", verdict: verdict{kind: Recipient, filtered: true, hint: noDomain}},
	{at: smtp.AtRCPT, codes: "450 451", enhanced: "4.4.", verdict: verdict{kind: Temporary, aboutAddress: true}}, // on the way to the recipient
	{at: ofRecipient, enhanced: "4.1. 4.2.", verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, codes: "4", words: recipientWords, verdict: verdict{kind: Temporary, aboutAddress: true}},
	{at: ofRecipient, enhanced: "5.1.1 5.1.2 5.1.3 5.1.4 5.1.6 5.1.10 5.2.1 5.2.3 5.6.7", verdict: verdict{kind: Recipient}},
	{at: ofRecipient, codes: "5", words: recipientWords, verdict: verdict{kind: Recipient}},
	{at: smtp.AtRCPT, codes: "551", enhanced: "5.7.", verdict: verdict{kind: Configuration, hint: policy}},
	{at: smtp.AtRCPT, codes: "551", enhanced: "5.3. 5.4. 5.5.", verdict: verdict{kind: Configuration}},
	{at: smtp.AtRCPT, codes: "551", words: "spam", verdict: verdict{kind: Configuration, hint: policy}},
	{at: smtp.AtRCPT, codes: "551 556", verdict: verdict{kind: Recipient}},

	// The message, by its codes.
	{enhanced: "5.3.4", verdict: verdict{kind: Content, filtered: true}},
	{enhanced: "5.6.", verdict: verdict{kind: Content}},

	// The server's own trouble, though it calls it permanent.
	{enhanced: "4.3. 4.4. 5.3.1 5.3.2 5.3.5 5.4.", verdict: verdict{kind: Temporary}},

	{codes: "504", verdict: verdict{kind: Configuration}},

	// Of the message or of a quota of ours: another service may see it in another way.
	{at: ofMessage, codes: "552", verdict: verdict{kind: Content, filtered: true}},

	// What is left goes by the first digit. It may be about this recipient or this mail alone.
	{at: smtp.AtRCPT, codes: "552", verdict: verdict{kind: Temporary, aboutAddress: true}}, // "exceeded storage allocation" in RFC 5321
	{at: smtp.AtRCPT, codes: "5", verdict: verdict{kind: Configuration, unplaced: true}},
	{codes: "4", verdict: verdict{kind: Temporary}},
	{at: smtp.AtMAIL, codes: "5", verdict: verdict{kind: Configuration, hint: checkSender}},
	{at: smtp.AtDot, codes: "5", verdict: verdict{kind: Configuration, unplaced: true}},
	{codes: "5", verdict: verdict{kind: Configuration}},
}

// senderWords are how servers call the operator's side of a mail. "sender" finds the German
// "Absender" too.
const senderWords = "sender|originator|return address|reply-to|return-path|message-id|from: domain|user or password|expéditeur|remitente|mittente|发件"

// fullWords are how servers say that a mailbox takes no more for now.
const fullWords = "mailbox full|mailboxfull|mailbox is full|account is full|user is full|inbox is full|inbox is out of storage|over quota|overquota|" +
	"exceeded storage|" +
	"over its storage|mailbox size limit|exceed maximum mailbox size|shutoffquotaexceeded|mailbox limit exceeded|mailbox limit exeeded|mailbox exceeded|mailbox has exceeded|" +
	"account storage limit|storage exceeded|" +
	"storage allocation|storage full|allowed storage|exceeds allowed size|exceeds quota|exceed mailbox quota|" +
	"allowed mailbox quota|quota limit is exceeded|space limit exceeded|over disk quota|over the allowed quota|over the quota|" +
	"has exceeded quota|exceeding its mailbox quota|is exceeding their quota|" +
	"reached disk quota|userdisk quota|quota usage exceeded|quota violation|full mailbox|mailfolder is full|space has been used up|" +
	"mailbox out of space|inbox out of space|postfach voll|boîte pleine|destinataire pleine|buzón lleno|buzon lleno|casella piena"

// quotaExceeded may be said of a full mailbox and of a quota of ours, diskQuota of a mailbox alone.
const (
	quotaExceeded = "quota exceeded"
	diskQuota     = "disk quota exceeded|mailbox quota exceeded|storage quota exceeded|recipient quota exceeded|quota exceeded (mailbox"
)

// eximRecords and noRecordWords are how Exim and others say that DNS knows no server of the
// recipient's domain.
const (
	eximRecords = "relevant mx records point to|invalid mx record|indicated no smtp service|" +
		"resolve the ip address of the following domain|mail exchanger or ip address"
	noRecordWords = "unknown domain|recipient domain not found|no data by dns resolve|no mx for|unable to resolve domain"
)

// noSuchDomain is how servers that speak of a recipient say that it is the domain that they do not find.
var noSuchDomain = regexp.MustCompile(`(?i)\bdomain (name )?not found\b|\bhost unknown\b|\bhost not found\b|\bunrouteable address\b|\bno such domain\b`)

// recipientWords are how servers say that there is no such recipient.
const recipientWords = "user unknown|user is unknown|account not found|address invalid|no such email address|unknown or illegal|unknown local part|" +
	"unknown user|unknown local user|unknown recipient|recipient unknown|no such user|no such recipient|" +
	"no such mailbox|no such address|non-existent account|invalid user|unavailable mail user|user not known|" +
	"exists that user|not user of this|not a known user|user disabled|user is disabled|recipient does not have an account|" +
	"mailbox currently unavailable|not our mx service|error in recipient address|" +
	"account inactive|account is inactive|unknown mailbox|mailbox unknown|mailbox invalid|mailbox is unavailable|mailbox not present|" +
	"not a valid recipient|" +
	"recipient not exist|user not active|no account by that name|no one at this address|not an active address|address not present|" +
	"address could not be found|" +
	"the address is not valid.|wrong or no longer valid|userunknown|recipientnotfound|recipient notfound|valid user here|" +
	"no longer accepts mail|destinataire archiv|nessun utente|user is inactive|mailbox is not active|recipient cannot be found|" +
	"not known here|user is terminated|not our user|non existing mailbox|archived recipient|" +
	"existiert nicht|n'existe pas|no existe|non esiste|nie istnieje|inexistent|" +
	"badrcptto|badrecipientto|validrcptto|not a local address|recipient is not local|recipient is not accepted|unknown virtual user|email not exist|recipnotfound|recipient-user must exist|no tiene una cuenta|" +
	"no mail box|mailbox unavaiable|address is marked as invalid|" +
	"unknown domain name|recipient domain must exist|name or service not known|host or domain name not found|bad destination mailbox|" +
	"invalid-recipient|" +
	"mailbox has moved|has been replaced by|deactivated mailbox|user suspended|no such id|dd is no longer valid|" +
	"benutzer unbekannt|empfänger unbekannt|adressat unbekannt|utilisateur inconnu|destinataire inconnu|usuario desconocido|" +
	"destinatario desconocido|utente sconosciuto|用户不存在|收件人不存在|" +
	"recipient address must contain|recipient address reserved|no such person|no such domain|user not found|user not exist|" +
	"recipient not found|mailbox not found|" +
	"does not exist|doesn't exist|dosn't exist|doesn't have a|no mailbox|mailbox unavailable|mailbox disabled|mailbox is disabled|" +
	"mailbox is inactive|mailbox has been blocked|invalid mailbox|invalid recipient|invalid rcpt|invalid address|bad recipient|" +
	"bad address syntax|recipient addresses rejected|recipient rejected|recipient unavailable|" +
	"recipient temporarily unavailable|address rejected|address unknown|unknown address|addressee unknown|undeliverable address|" +
	"unrouteable|unroutable|not a valid mailbox|not a valid email|not a valid rfc-5321 address|not our customer|host unknown|host not found"

// fits tells whether the rule is about this reply; text is in lower case and
// without addresses.
func (r *smtpRule) fits(stage smtp.Stage, code, enhanced, text string) bool {
	if r.at != 0 && r.at&stage == 0 {
		return false
	}
	return anyOf(r.codes, " ", func(c string) bool { return strings.HasPrefix(code, c) }) &&
		(r.enhanced == "" || anyOf(r.enhanced, " ", func(c string) bool {
			return c == enhanced || strings.HasSuffix(c, ".") && strings.HasPrefix(enhanced, c)
		})) &&
		anyOf(r.words, "|", func(w string) bool { return strings.Contains(text, w) || startsWord(text, w) })
}

// startsWord tells whether words that begin with a blank stand behind a mark of punctuation.
func startsWord(text, words string) bool {
	rest, isStart := strings.CutPrefix(words, " ")
	return isStart && rest != "" && slices.ContainsFunc(startMarks, func(mark string) bool { return strings.Contains(text, mark+rest) })
}

var startMarks = []string{`"`, "'", ":", "(", "["}

func anyOf(list, separator string, fits func(string) bool) bool {
	for item := range strings.SplitSeq(list, separator) {
		if fits(item) {
			return true
		}
	}
	return false
}
