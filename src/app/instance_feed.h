// Follows which instances of the tiers are ready, at every site, for the edge: a long poll at each
// site's agent. When an agent cannot be reached, the last answer stays in force, as everything an
// edge knows; before the first answer the tier's number of instances at the start is taken.
//
// On the loop's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/context.h"
#include "net/http.h"

namespace leeward::app {

class InstanceFeed {
 public:
  // Which of a tier's origins at a site are ready, one entry each: its functions first, where it
  // has any there, then its slots. Functions are not while an instance is.
  using OnReady =
      std::function<void(SiteId site, const Tier& tier, const std::vector<bool>& ready)>;

  // Begins to follow the tiers that scale, have a `deploy` section or functions, where they do.
  // `on_ready` is called when an answer changes something, and once a tier and site from inside
  // here. All must outlive it.
  InstanceFeed(net::EventLoop& loop, net::HttpClient& http, const Context& context,
               OnReady on_ready);
  ~InstanceFeed();
  InstanceFeed(const InstanceFeed&) = delete;
  InstanceFeed& operator=(const InstanceFeed&) = delete;

  // Calls `on_ready` for everything that is known.
  void repeat() const;

 private:
  struct Source {
    SiteId site;
    std::string life;
    std::uint64_t version = 0;
    bool said_lost = false;
    std::map<std::string, std::vector<bool>> ready;  // by tier
  };
  void poll(Source& source);
  void again(Source& source, Duration delay);
  Status take(Source& source, const std::string& body);

  net::EventLoop& loop_;
  net::HttpClient& http_;
  const Context& context_;
  Logger logger_;
  OnReady on_ready_;
  std::vector<std::unique_ptr<Source>> sources_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace leeward::app
