package qiao.spring;

import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.stereotype.Component;
import org.springframework.transaction.annotation.Transactional;

/** The rows of the bank, in a data source that Seata's starter has wrapped. */
@Component
class Accounts {
    private final JdbcTemplate jdbc;

    Accounts(JdbcTemplate jdbc) {
        this.jdbc = jdbc;
    }

    @Transactional
    public void add(String owner, long money) {
        if (jdbc.update("UPDATE account SET money = money + ? WHERE owner = ?", money, owner) != 1) {
            throw new IllegalArgumentException("no account of " + owner);
        }
    }
}
