#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

#include "runrig/channel/pickle.hpp"
#include "runrig/channel/proxy_state.hpp"
#include "samples.hpp"
#include "support.hpp"

// Slices, and what of managers travels: tokens and proxies.
namespace runrig::pickle {
namespace {

using namespace std::string_literals;
using test_samples::bytes_of;

Token token(const Address& address = Address("/run/manager")) { return {"list", address, "7f00abcd"}; }

Object through(const Object& object, int protocol) { return loads(dumps(object, protocol)); }

TEST(PickleProxyTest, SlicesTokensAndProxiesComeBackFromEachProtocol) {
  for (const int protocol : {2, 3, 4, 5}) {
    for (const Slice& slice : {Slice{}, Slice{1, 5, 2}, Slice{-3, std::nullopt, -1}, Slice{INT64_MIN, INT64_MAX}}) {
      EXPECT_EQ(through(slice, protocol).as_slice(), slice);
    }
    for (const Address& address : {Address("/run/manager"), Address("/run/\xff"), Address::abstract("manager"),
                                   Address("build.example.org", 50'000), Address("::1", 1)}) {
      EXPECT_EQ(through(token(address), protocol).as_token(), token(address));
      for (const char* type : {"ListProxy", "AutoProxy", "PoolProxy"}) {
        const Object proxy = ProxyState{type, token(address), {"get", "put"}};
        const Object read = through(Object::list({proxy, 1, proxy}), protocol);
        EXPECT_EQ(read.at(std::size_t{0}), proxy);
        EXPECT_EQ(read, Object::list({proxy, 1, proxy}));
        EXPECT_EQ(read.at(std::size_t{0}).as_proxy().exposed.size(), type == "AutoProxy"s ? 2U : 0U)
            << "the others' methods are known by their class";
      }
    }
  }
}

TEST(PickleProxyTest, AreNoKeys) {
  EXPECT_THROW(Object::set({Object(Slice{})}), std::logic_error);
  EXPECT_THROW(Object::set({Object(ProxyState{"ListProxy", token()})}), std::logic_error);
}

TEST(PickleProxyTest, AClassThatPythonDoesNotHaveIsTheCallersMistake) {
  EXPECT_THROW((void)Object(ProxyState{"system", token()}), std::logic_error);
  EXPECT_THROW((void)Object(ProxyState{"Token", token()}), std::logic_error);
}

TEST(PickleProxyTest, KeepProxiesFindsEachOnceHoweverDeep) {
  struct Keeper : ProxyKeeper {
    explicit Keeper(std::function<void()> at_end) : end(std::move(at_end)) {}
    ~Keeper() override { end(); }
    std::function<void()> end;
  };
  const auto proxy = [](const std::string& id) { return Object(ProxyState{"ListProxy", {"list", Address("/m"), id}}); };
  std::set<std::string> kept;
  std::set<std::string> ended;
  {
    Object recursive = Object::list();
    recursive.append(Object::back_reference(recursive));
    recursive.append(proxy("a"));
    const Object shared = proxy("b");
    Object all =
        Object::tuple({recursive, Object::dict({{"x", shared}, {1, Object::tuple({shared})}}), proxy("c"),
                       Object::exception("ValueError", {proxy("d")}, Object::dict({{"y", proxy("e")}})), "text"});
    keep_proxies(all, [&](const ProxyState& found) {
      EXPECT_TRUE(kept.insert(found.token.id).second) << "once";
      return std::make_shared<const Keeper>([&ended, id = found.token.id] { ended.insert(id); });
    });
    EXPECT_EQ(kept, (std::set<std::string>{"a", "b", "c", "d", "e"}));
    all = Object();
    EXPECT_EQ(ended, (std::set<std::string>{"c", "d", "e"})) << "shared and recursive still have theirs";
  }
  EXPECT_EQ(ended, kept);
}

// Global, mark, class, token, 'pickle', keywords, tuple, reduce.
std::string proxy_stream(const std::string& type, const std::string& state, const std::string& keywords) {
  return "\x80\x02"
         "cmultiprocessing.managers\nRebuildProxy\n(cmultiprocessing.managers\n" +
         type + "\ncmultiprocessing.managers\nToken\n)\x81" + state + "U\x06pickle" + keywords + "tR.";
}

TEST(PickleProxyTest, WhatPythonDoesNotWriteIsRefused) {
  const std::string good =
      "U\x04listU\x02/mU\x01"
      "1\x87"
      "b";
  EXPECT_EQ(loads(bytes_of(proxy_stream("ListProxy", good, "}"))).as_proxy().token.id, "1");
  EXPECT_EQ(loads(bytes_of(proxy_stream("ListProxy", good,
                                        "}U\x07"
                                        "authkeyU\x01xs")))
                .as_proxy()
                .token.id,
            "1")
      << "a key in it is not taken";
  for (const std::string& bad : {
           proxy_stream("ListProxy", "", "}"),                     // a token without state
           proxy_stream("ListProxy", good + good.substr(0), "}"),  // and with two
           proxy_stream("ListProxy",
                        "U\x04listK\x05U\x01"
                        "1\x87"
                        "b",
                        "}"),  // no address
           proxy_stream("ListProxy",
                        "U\x04listU\x02/m\x86"
                        "b",
                        "}"),                                      // of two parts
           proxy_stream("Token", good, "}"),                       // no class of proxies
           proxy_stream("SyncManager", good, "}"),                 // nor this
           proxy_stream("ListProxy", good, "]"),                   // no keywords
           proxy_stream("ListProxy", good, "}U\x05increfK\x01s"),  // one that is not known
           proxy_stream("AutoProxy", good,
                        "}U\x07"
                        "exposedK\x01s"),
           "\x80\x02"
           "cmultiprocessing.managers\nToken\n)\x81."s,  // without state, by itself
           "\x80\x02"
           "]cmultiprocessing.managers\nToken\n)\x81"
           "a."s,  // and in a list
           "\x80\x02"
           "cmultiprocessing.managers\nToken\n)R."s,  // called
           "\x80\x02"
           "cmultiprocessing.managers\nToken\nU\x01x\x85\x81."s,  // with arguments
           "\x80\x02"
           "cmultiprocessing.managers\nListProxy\n)\x81."s,  // an instance of another class
           "\x80\x02"
           "cbuiltins\nslice\nK\x01\x85R."s,
           "\x80\x02"
           "cbuiltins\nslice\nU\x01xNN\x87R."s,
       }) {
    EXPECT_EQ(test::thrown_code([&] { (void)loads(bytes_of(bad)); }), ErrorKind::format) << bad;
  }
}

TEST(PickleProxyTest, ARangeIsTheListOfItsNumbers) {
  const auto range = [](const std::string& arguments) {
    return loads(
        bytes_of("\x80\x02"
                 "c__builtin__\nxrange\n" +
                 arguments + "\x87R."));
  };
  EXPECT_EQ(range("K\x02K\x07K\x02"), Object::list({2, 4, 6}));
  EXPECT_EQ(range("K\x03K\x00J\xfe\xff\xff\xff"s), Object::list({3, 1}));
  EXPECT_EQ(range("K\x03K\x03K\x01"), Object::list());
  const std::string lowest = "\x8a\x08"s + std::string(7, '\0') + "\x80";
  const std::string highest = "\x8a\x08"s + std::string(7, '\xff') + "\x7f";
  EXPECT_EQ(range(lowest + highest + highest), Object::list({INT64_MIN, -1, INT64_MAX - 1}));
  EXPECT_EQ(range(highest + lowest + lowest), Object::list({INT64_MAX, -1}));
  EXPECT_EQ(test::thrown_code([&] { (void)range("K\x03K\x03K\x00"s); }), ErrorKind::format);
  EXPECT_EQ(test::thrown_code([&] { (void)range(lowest + highest + "K\x01"); }), ErrorKind::format);
  EXPECT_EQ(test::thrown_code([&] { (void)range("K\x00J\xff\xff\xff\x7fK\x01"s); }), ErrorKind::format);
}

TEST(PickleProxyTest, PythonWritesAndReadsTheSame) {
  const auto python = test::python_with("multiprocessing.managers");
  if (!python) GTEST_SKIP() << "no Python with multiprocessing found";
  const test::TemporaryDirectory folder;
  const auto file = folder / "pickle";
  for (const int protocol : {2, 3, 4, 5}) {
    const auto wrote = test::run_command({*python, "-c",
                                          R"(
import pickle, sys
from multiprocessing.managers import *
from multiprocessing.managers import RebuildProxy, AutoProxy, Token, ListProxy
class Bare:
  def __init__(self, *args): self.args = args
  def __reduce__(self): return RebuildProxy, self.args
tokens = [Token('list', a, '7f') for a in ('/run/m', b'\0name', ('host', 5))]
pickle.dump([slice(1, None, -2), tokens, Bare(ListProxy, tokens[0], 'pickle', {}),
  Bare(AutoProxy, tokens[2], 'pickle', {'exposed': ('get', 'put')})], open(sys.argv[1], 'wb'), int(sys.argv[2])))",
                                          file.string(), std::to_string(protocol)});
    ASSERT_EQ(wrote.exit_code, 0) << wrote.err;
    const Object read = loads(test_samples::read_file(file));
    const Token tcp{"list", Address("host", 5), "7f"};
    EXPECT_EQ(read, Object::list({Slice{1, std::nullopt, -2},
                                  Object::list({Token{"list", Address("/run/m"), "7f"},
                                                Token{"list", Address::abstract("name"), "7f"}, tcp}),
                                  ProxyState{"ListProxy", {"list", Address("/run/m"), "7f"}},
                                  ProxyState{"AutoProxy", tcp, {"get", "put"}}}));
    EXPECT_EQ(read.at(std::size_t{3}).as_proxy().exposed, (std::vector<std::string>{"get", "put"}));
    test_samples::write_file(file, dumps(read, protocol));
    const auto got = test::run_command({*python, "-c",
                                        R"(
import pickle, sys, multiprocessing.managers as m
def rebuilt(func, token, serializer, kwds): return func.__name__, repr(token), serializer, kwds
m.RebuildProxy = rebuilt
print(pickle.load(open(sys.argv[1], 'rb'))))",
                                        file.string()});
    EXPECT_EQ(
        got.out,
        "[slice(1, None, -2), [Token(typeid='list', address='/run/m', id='7f'), Token(typeid='list', "
        "address=b'\\x00name', id='7f'), Token(typeid='list', address=('host', 5), id='7f')], ('ListProxy', "
        "\"Token(typeid='list', address='/run/m', id='7f')\", 'pickle', {}), ('AutoProxy', \"Token(typeid='list', "
        "address=('host', 5), id='7f')\", 'pickle', {'exposed': ('get', 'put')})]\n")
        << got.err;
  }
}

}  // namespace
}  // namespace runrig::pickle
