// Package configs holds the configuration and the policy that sallyport ships
// with: what `make run` starts, and what an administrator begins with. There is
// no code in it but a test that both are good.
package configs
