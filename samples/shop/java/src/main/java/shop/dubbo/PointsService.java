package shop.dubbo;

/** What the points service publishes over Dubbo and Triple. The result is empty, or the reason of a refusal. */
public interface PointsService {
    String award(String customer, long points);
}
