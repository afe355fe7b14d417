// Package blockpage tells a person, or a program, that the policy refused a
// destination: which app it is, why, what to use instead and whom to ask.
//
// [FromVerdict] makes a [Refusal] of a verdict, and [Write] answers an HTTP
// request with it, as a web page, as JSON or as plain text, whichever the
// request's Accept header prefers. The proxy door and the portal both use it,
// so that an employee reads the same words wherever the refusal happened.
//
// The page loads nothing: no image, no script, no font and no style sheet from
// anywhere, because the network that shows it is the one that refuses things.
package blockpage
