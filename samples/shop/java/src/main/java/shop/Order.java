package shop;

import org.apache.seata.rm.tcc.api.BusinessActionContextParameter;

/** What a customer asks for. The price is that of all pieces together. TCC needs the number again in its second phase. */
public record Order(
        @BusinessActionContextParameter("number") long number, String customer, String item, long quantity, long price) {}
