package certificate

import "time"

// The forms of a time that are met with: seconds were optional before RFC 3280, as
// were offsets from UTC.
var (
	shortForms = []string{"060102150405Z0700", "0601021504Z0700", "060102150405"}
	longForms  = []string{
		"20060102150405Z0700", "200601021504Z0700", "20060102150405.999999999Z0700", "20060102150405",
	}
)

// readTime reads a UTCTime or a GeneralizedTime.
func readTime(d *der, at *time.Time) bool {
	var tag byte
	var content, whole der
	if !d.next(&tag, &content, &whole) || len(content) > 40 {
		return false
	}
	forms := longForms
	switch tag {
	case tagUTCTime:
		forms = shortForms
	case tagGeneralized:
	default:
		return false
	}
	for _, form := range forms {
		t, err := time.Parse(form, string(content))
		if err != nil {
			continue
		}
		// Go takes 69 to 99 for the last century, RFC 5280 50 to 99.
		if tag == tagUTCTime && t.Year() >= 2050 {
			t = t.AddDate(-100, 0, 0)
		}
		*at = t.UTC()
		return true
	}
	return false
}
