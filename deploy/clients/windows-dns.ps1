# Windows, as administrator, or as a start script of a Group Policy: names come from
# the gateway alone, and not encrypted past it. docs/roll-out.md says what each does.

# Windows itself: no DNS over HTTPS (DoHPolicy: 1 forbids, 2 allows, 3 requires).
New-Item -Force -Path 'HKLM:\SOFTWARE\Policies\Microsoft\Windows NT\DNSClient' | Out-Null
Set-ItemProperty -Path 'HKLM:\SOFTWARE\Policies\Microsoft\Windows NT\DNSClient' -Name 'DoHPolicy' -Type DWord -Value 1

# Every name is asked of the gateway, whatever a network's DHCP says (NRPT). Leave
# this out where laptops must resolve names on other networks.
Get-DnsClientNrptRule | Where-Object { $_.Comment -eq 'sallyport' } | Remove-DnsClientNrptRule -Force
Add-DnsClientNrptRule -Namespace '.' -NameServers '10.20.0.10', 'fd20::10' -Comment 'sallyport'
