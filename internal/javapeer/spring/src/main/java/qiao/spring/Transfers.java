package qiao.spring;

import java.net.URI;
import org.apache.seata.core.context.RootContext;
import org.apache.seata.spring.annotation.GlobalTransactional;
import org.springframework.cloud.openfeign.FeignClient;
import org.springframework.stereotype.Component;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.client.RestTemplate;

/** Moves money from this bank to another, which is reached with RestTemplate or with Feign. */
@Component
class Transfers {
    /** The other bank; the first argument is its address. */
    @FeignClient(name = "other-bank", url = "http://unused")
    interface OtherBank {
        @PostMapping("/add")
        String add(URI bank, @RequestParam("owner") String owner, @RequestParam("money") long money);
    }

    private final Accounts accounts;
    private final RestTemplate rest;
    private final OtherBank feign;

    Transfers(Accounts accounts, RestTemplate rest, OtherBank feign) {
        this.accounts = accounts;
        this.rest = rest;
        this.feign = feign;
    }

    /** Returns the transaction's XID here and the one that the other bank saw. */
    @GlobalTransactional(timeoutMills = 60_000, name = "spring-transfer")
    public String move(String owner, long money, String bank, String via, boolean fail) {
        accounts.add(owner, -money);
        String there = switch (via) {
            case "rest" -> rest.postForObject(bank + "/add?owner={owner}&money={money}", null, String.class, owner, money);
            case "feign" -> feign.add(URI.create(bank), owner, money);
            default -> throw new IllegalArgumentException("via " + via);
        };
        if (fail) {
            throw new IllegalStateException("the business failed in " + RootContext.getXID() + " " + there);
        }
        return RootContext.getXID() + " " + there;
    }
}
