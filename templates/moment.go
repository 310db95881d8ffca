package templates

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the image that the relay runs in has no zones
)

const monthsOfAYear = 12

// momentParts takes out of the text "time" what is filled in.
var momentParts = strings.NewReplacer("{year}", "", "{month}", "", "{day}", "", "{time}", "", "{zone}", "")

// moment tells a time as readers of a language do, to the minute. A language of
// which there are no texts gets it in figures.
func (t *translation) moment(at time.Time) string {
	if len(t.months) != monthsOfAYear {
		return at.Format("2006-01-02 15:04 ") + offset(at)
	}
	year, month, day := t.date(at)
	hour, minute, _ := at.Clock()
	text := t.texts["time"].text
	for _, part := range [...]struct{ name, value string }{
		{"{year}", strconv.Itoa(year)}, {"{month}", t.months[month-1]}, {"{day}", t.dayOfMonth(day)},
		{"{time}", twoDigits(hour) + ":" + twoDigits(minute)}, {"{zone}", offset(at)},
	} {
		text = strings.ReplaceAll(text, part.name, part.value)
	}
	return t.digits(text)
}

// dayOfMonth counts the days as readers of a language do: French has "1er" and
// Brazil "1º", and then "2" and "3".
func (t *translation) dayOfMonth(day int) string {
	switch {
	case day == 1 && t.base == "fr":
		return "1er"
	case day == 1 && t.Locale == "pt-BR":
		return "1º"
	}
	return strconv.Itoa(day)
}

func twoDigits(n int) string { return strconv.Itoa(100 + n)[1:] }

// offset names the zone of a time by its distance from UTC, which is the same in
// all languages.
func offset(at time.Time) string {
	_, seconds := at.Zone()
	switch hours, minutes := seconds/3600, max(seconds, -seconds)/60%60; {
	case seconds == 0:
		return "UTC"
	case minutes == 0:
		return fmt.Sprintf("UTC%+d", hours)
	default:
		return fmt.Sprintf("UTC%+d:%02d", hours, minutes)
	}
}

// date is the day in the calendar that readers of a language use: Thais count the
// years of Buddha, Iranians have the calendar of the sun.
func (t *translation) date(at time.Time) (year, month, day int) {
	switch t.base {
	case "th":
		return at.Year() + 543, int(at.Month()), at.Day()
	case "fa":
		return persian(at)
	}
	return at.Year(), int(at.Month()), at.Day()
}

// persian is the day in the calendar of Iran. Its leap years repeat every 33 years
// from 1343 to 1472, which are 1964 to 2093.
func persian(at time.Time) (year, month, day int) {
	year = 1403 // began on 20 March 2024
	day = int(time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC).Sub(time.Date(2024, time.March, 20, 0, 0, 0, 0, time.UTC)).Hours()) / 24
	for day < 0 {
		year--
		day += persianDays(year)
	}
	for day >= persianDays(year) {
		day -= persianDays(year)
		year++
	}
	if day < 6*31 {
		return year, day/31 + 1, day%31 + 1
	}
	day -= 6 * 31
	return year, day/30 + 7, day%30 + 1
}

func persianDays(year int) int {
	switch year % 33 {
	case 1, 5, 9, 13, 17, 22, 26, 30:
		return 366
	}
	return 365
}
