package shop.dubbo;

/** What the points service publishes over Dubbo and Triple. The result is empty, or the reason of a refusal. */
public interface PointsService {
    String award(long order, String customer, long points);

    /** Undoes award, in mode saga. */
    String revoke(long order, String customer, long points);
}
