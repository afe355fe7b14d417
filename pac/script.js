
function FindProxyForURL(url, host) {
  var name = tidy(host);
  var address = addressOf(name);
  if ((address === "" ? "." + name : address) === portal) {
    return "DIRECT";
  }
  if (address !== "") {
    return forAddress(url, address);
  }
  if (isOdd(name)) {
    return proxies;
  }
  if (listed(name, directNames)) {
    return "DIRECT";
  }
  if (!everything && (listed(name, judgedNames) || covered(name))) {
    return proxies;
  }
  if (name.indexOf(".") < 0) {
    return "DIRECT";
  }
  return everything || onJudgedPort(url) ? proxies : "DIRECT";
}

function forAddress(url, address) {
  if (within(address, directAddresses)) {
    return "DIRECT";
  }
  if (everything || everyAddress || within(address, judgedAddresses)) {
    return proxies;
  }
  if (judgedAddresses.length > 0 && carriesAnother(address)) {
    return proxies;
  }
  return onJudgedPort(url) ? proxies : "DIRECT";
}

// The host in lower case, without brackets, zone and final dot.
function tidy(host) {
  var name = String(host).toLowerCase();
  if (name.charAt(0) === "[" && name.charAt(name.length - 1) === "]") {
    name = name.substring(1, name.length - 1);
  }
  if (name.indexOf(":") >= 0 && name.indexOf("%") >= 0) {
    name = name.substring(0, name.indexOf("%"));
  }
  if (name.length > 1 && name.charAt(name.length - 1) === ".") {
    name = name.substring(0, name.length - 1);
  }
  return name;
}

// What is no name, or a number that some programs take for an address.
function isOdd(name) {
  return name.length > 253 || !/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name) ||
    /(^|\.)([0-9]+|0x[0-9a-f]*)$/.test(name);
}

// Whether the longest name in the table that this is, or is under, says yes:
// bit 1 is for the name itself, bit 2 for those under it. Every key begins with
// a dot, so none is a property that objects have anyway.
function listed(name, table) {
  var dotted = "." + name;
  for (var at = 0; at >= 0; at = dotted.indexOf(".", at + 1)) {
    var key = dotted.substring(at);
    if (has(table, key)) {
      return (table[key] & (at === 0 ? 1 : 2)) !== 0;
    }
  }
  return false;
}

function has(table, key) {
  return Object.prototype.hasOwnProperty.call(table, key);
}

// Whether the name, or one above it, has a checksum in the table.
function covered(name) {
  var sum = 0;
  var labels = 0;
  if (checksumMask < 0) {
    return false;
  }
  for (var i = name.length - 1; i >= 0; i--) {
    sum = stir(sum, name.charCodeAt(i));
    if (i === 0 || name.charAt(i - 1) === ".") {
      labels++;
      var key = (settle(sum) & checksumMask) >>> 0;
      if (labels >= checksumLabels && has(checksums, key) && (checksums[key] & (i === 0 ? 1 : 2)) !== 0) {
        return true;
      }
    }
  }
  return false;
}

function stir(sum, code) {
  sum = (sum + code) >>> 0;
  sum = (sum + (sum << 10)) >>> 0;
  return (sum ^ (sum >>> 6)) >>> 0;
}

function settle(sum) {
  sum = (sum + (sum << 3)) >>> 0;
  sum = (sum ^ (sum >>> 11)) >>> 0;
  return (sum + (sum << 15)) >>> 0;
}

// An address as hexadecimal digits behind its version, or "".
function addressOf(name) {
  return name.indexOf(":") < 0 ? quad(name) : groups(name);
}

function quad(text) {
  var part = /^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})$/.exec(text);
  var hex = "4";
  if (!part) {
    return "";
  }
  for (var i = 1; i <= 4; i++) {
    var value = Number(part[i]);
    if (value > 255 || String(value) !== part[i]) {
      return "";
    }
    hex += (value < 16 ? "0" : "") + value.toString(16);
  }
  return hex;
}

function groups(text) {
  var last = text.lastIndexOf(":") + 1;
  if (text.indexOf(".") >= 0) {
    var tail = quad(text.substring(last));
    if (tail === "") {
      return "";
    }
    text = text.substring(0, last) + tail.substring(1, 5) + ":" + tail.substring(5);
  }
  var halves = text.split("::");
  var left = digits(halves[0]);
  var right = halves.length === 2 ? digits(halves[1]) : "";
  if (halves.length > 2 || left === null || right === null) {
    return "";
  }
  if (halves.length === 2) {
    if (left.length + right.length > 28) {
      return "";
    }
    while (left.length + right.length < 32) {
      left += "0000";
    }
  }
  var hex = left + right;
  if (hex.length !== 32) {
    return "";
  }
  if (hex.substring(0, 24) === "00000000000000000000ffff") {
    return "4" + hex.substring(24);
  }
  return "6" + hex;
}

// Groups of an IPv6 address as four digits each, or null.
function digits(text) {
  var hex = "";
  if (text === "") {
    return hex;
  }
  var all = text.split(":");
  for (var i = 0; i < all.length; i++) {
    if (!/^[0-9a-f]{1,4}$/.test(all[i])) {
      return null;
    }
    hex += "000".substring(all[i].length - 1) + all[i];
  }
  return hex;
}

// Whether the address is in one of the ranges: first, last, first, last, ...
function within(address, ranges) {
  var low = 0;
  var high = ranges.length / 2;
  while (low < high) {
    var middle = Math.floor((low + high) / 2);
    if (address < ranges[2 * middle]) {
      high = middle;
    } else if (address > ranges[2 * middle + 1]) {
      low = middle + 1;
    } else {
      return true;
    }
  }
  return false;
}

// An IPv6 address that stands for an IPv4 address somewhere: compatible,
// translated, NAT64, 6to4, Teredo, ISATAP.
function carriesAnother(address) {
  return /^6(0{24}|0{16}ffff0000|0064ff9b|2002|20010000|.{16}0[02]005efe)/.test(address);
}

function onJudgedPort(url) {
  if (judgedPorts.length === 0) {
    return false;
  }
  var text = String(url).toLowerCase();
  var written = /^[a-z][a-z0-9+.-]*:\/\/[^\/?#]*:([0-9]+)([\/?#]|$)/.exec(text);
  var port = written ? Number(written[1]) : /^(https|wss):/.test(text) ? 443 : 80;
  for (var i = 0; i < judgedPorts.length; i += 2) {
    if (port >= judgedPorts[i] && port <= judgedPorts[i + 1]) {
      return true;
    }
  }
  return false;
}
