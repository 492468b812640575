from astrolake.photometry.companions import Companions, find_companions, may_have_companions

IMAGE = "c4d_171113_061941_ooi_r_ls9.S4.fits"
WEIGHT, MASK = IMAGE.replace("ooi", "oow"), IMAGE.replace("ooi", "ood")


def test_noirlab_images_have_weight_and_mask():
    assert find_companions(IMAGE, [MASK, IMAGE, WEIGHT]) == Companions(WEIGHT, MASK)


def test_only_what_is_there_is_found():
    assert find_companions(IMAGE, [IMAGE, MASK]) == Companions(None, MASK)


def test_companions_of_other_exposures_are_not_taken():
    assert find_companions(IMAGE, [WEIGHT.replace("061941", "061942")]) == Companions()


def test_suffixes_may_differ():
    assert find_companions(IMAGE, [WEIGHT + ".fz"]) == Companions(WEIGHT + ".fz")


def test_the_first_of_several_that_fit_is_taken():
    assert find_companions(IMAGE, [WEIGHT + ".gz", WEIGHT]).weight == WEIGHT


def test_weights_have_no_companions():
    assert find_companions(WEIGHT, [IMAGE, MASK]) == Companions()


def test_legacy_coadds_have_an_inverse_variance_of_their_band():
    name = "legacysurvey-0959p805-image-g.fits.fz"
    siblings = ["legacysurvey-0959p805-invvar-r.fits.fz", "legacysurvey-0959p805-invvar-g.fits.fz"]
    assert find_companions(name, siblings) == Companions("legacysurvey-0959p805-invvar-g.fits.fz")


def test_directories_of_other_files_need_no_listing():
    assert may_have_companions(IMAGE)
    assert not may_have_companions("stamp-r-5.0073-0.0739.fits")


def test_an_sdss_frame_has_the_mask_planes_of_its_band():
    siblings = ["fpM-002583-g2-0136.fits", "fpM-002583-r2-0136.fits.gz", "psField-002583-2-0136.fits"]
    found = find_companions("frame-r-002583-2-0136.fits.bz2", siblings)
    assert found == Companions(None, "fpM-002583-r2-0136.fits.gz")
    assert find_companions("frame-r-002583-2-0137.fits.bz2", siblings) == Companions()
