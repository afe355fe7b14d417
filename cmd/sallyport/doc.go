// Command sallyport runs the gateway, and checks, tests and explains its
// policies.
//
//	sallyport serve    run the gateway
//	sallyport check    say everything that is wrong with configuration and policy
//	sallyport test     run the policy's own tests
//	sallyport explain  say what a request would be told, and why
//	sallyport apps     show the catalogue of apps
//	sallyport version  say what this is
//
// Each subcommand is one file. It exits with 0 where all is well, 1 where
// something is wrong, 2 where it was called wrongly; explain says the verdict
// in its status (0 allow, 10 block, 11 warn).
package main
