package qiao.spring;

import org.apache.seata.core.context.RootContext;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;

/** The bank over HTTP. */
@RestController
class Web {
    private final Accounts accounts;
    private final Transfers transfers;

    Web(Accounts accounts, Transfers transfers) {
        this.accounts = accounts;
        this.transfers = transfers;
    }

    /** Adds money in the caller's transaction, if there is one, and returns its XID. */
    @PostMapping("/add")
    String add(@RequestParam("owner") String owner, @RequestParam("money") long money) {
        accounts.add(owner, money);
        return String.valueOf(RootContext.getXID());
    }

    @PostMapping("/move")
    String move(
            @RequestParam("owner") String owner,
            @RequestParam("money") long money,
            @RequestParam("bank") String bank,
            @RequestParam("via") String via,
            @RequestParam("fail") boolean fail) {
        return transfers.move(owner, money, bank, via, fail);
    }

    /** Returns the XID that this thread is bound to. */
    @GetMapping("/xid")
    String xid() {
        return String.valueOf(RootContext.getXID());
    }

    @ExceptionHandler
    ResponseEntity<String> failed(Exception e) {
        return ResponseEntity.internalServerError().body(e.getMessage());
    }
}
