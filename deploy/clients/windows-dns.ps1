# Windows, as administrator, or as a start script of a Group Policy: names come from
# the gateway alone, and not encrypted past it. docs/roll-out.md says what each does.

# Windows itself: no DNS over HTTPS (DoHPolicy: 1 forbids, 2 allows, 3 requires). A key
# that is there is left as it is: New-Item -Force would empty it, and the other
# policies that are in it (LLMNR, search lists, name resolution) would be gone.
$key = 'HKLM:\SOFTWARE\Policies\Microsoft\Windows NT\DNSClient'
if (-not (Test-Path -Path $key)) { New-Item -Force -Path $key | Out-Null }
Set-ItemProperty -Path $key -Name 'DoHPolicy' -Type DWord -Value 1

# Every name is asked of the gateway, whatever a network's DHCP says (NRPT). Leave
# this out where laptops must resolve names on other networks.
Get-DnsClientNrptRule | Where-Object { $_.Comment -eq 'sallyport' } | Remove-DnsClientNrptRule -Force
Add-DnsClientNrptRule -Namespace '.' -NameServers '10.20.0.10', 'fd20::10' -Comment 'sallyport'
